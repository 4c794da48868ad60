package faults

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

const (
	serviceID    = "service-0"
	serviceGroup = "service"
)

// service is a process as there are many: it reads its configuration from the
// environment and listens. It prints what it does. A ticket's title says how
// its handler behaves.
func service(ctx context.Context) error {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		return err
	}
	cfg.Logger = quiet
	// The signals are Run's.
	return natswrap.Run(context.WithoutCancel(ctx), cfg, func(running context.Context, c *natswrap.Client) error {
		context.AfterFunc(running, func() { fmt.Println("stopping") })
		l := ticketing.NewListener(c, serviceGroup, func(ctx context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			fmt.Println("started", d.Event.ID)
			switch d.Event.Title {
			case "slow": // returns during the shutdown
				<-running.Done()
				<-time.After(100 * time.Millisecond)
			case "stuck": // returns only when there is no more time
				<-ctx.Done()
				return ctx.Err()
			case "deaf":
				select {}
			}
			fmt.Println("handled", d.Event.ID)
			return nil
		}, &ticketing.ListenerOptions{Concurrency: 8, AckWait: time.Second, ShutdownTimeout: time.Second, Logger: quiet})
		process.Ready(ctx, "")
		return l.Listen(running)
	})
}

// child is a service with what it printed.
type child struct {
	*process.Process
	out testlog.Buffer
}

func (c *child) printed() []string {
	return strings.Split(strings.TrimSpace(c.out.String()), "\n")
}

// wantLine waits until the child has printed a line.
func (c *child) wantLine(t *testing.T, line string) {
	t.Helper()
	until(t, fmt.Sprintf("the service printed %q", line), func() bool {
		return slices.Contains(c.printed(), "service: "+line)
	})
}

// runService starts a service on b.
func runService(t *testing.T, b *broker) *child { return runChild(t, b, "service") }

func runChild(t *testing.T, b *broker, role string) *child {
	t.Helper()
	c := new(child)
	c.Process = process.Run(t, role, process.Output(&c.out), process.Env(
		"NATS_URL="+b.url, "NATS_CLUSTER_ID="+b.cluster, "NATS_CLIENT_ID="+serviceID))
	return c
}

// Without the DrainTimeout that ticketing's listener passes on "slow" comes
// again; without the verdict in its retry for a handler that fails during the
// stop "stuck" would not. Without the exit in natswrap's watchSignals the
// process that is signalled twice ends with the shutdown timeout.
func TestASignalLeavesToOthersOnlyWhatWasNotFinished(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		titles  []string // of the events, which are their ids as well
		signals int
		status  int
		again   []string // what comes to another process
	}{
		"SIGTERM":       {[]string{"quick", "slow", "stuck"}, 1, 0, []string{"stuck"}},
		"SIGTERM twice": {[]string{"quick", "deaf"}, 2, 143, []string{"deaf"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *broker) {
				p := runService(t, b)
				c := connect(t, withID(b.config(b.url), "other"))
				for _, title := range tc.titles {
					publish(t, c, title, title)
					p.wantLine(t, "started "+title)
				}
				p.wantLine(t, "handled quick")
				for range tc.signals {
					if err := p.Terminate(); err != nil {
						t.Fatal(err)
					}
					p.wantLine(t, "stopping")
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				status := 0
				if err := p.Wait(ctx); err != nil {
					var exit *exec.ExitError
					if !errors.As(err, &exit) {
						t.Fatal(err)
					}
					status = exit.ExitCode()
				}
				if status != tc.status {
					t.Errorf("status %d, want %d; it printed %q", status, tc.status, p.printed())
				}

				const ackWait = time.Second
				in := listen(t, c, serviceGroup, ticketing.ListenerOptions{AckWait: ackWait})
				for _, id := range tc.again {
					in.want(id)
				}
				// Nothing tells that the rest does not come: what was not
				// acknowledged comes again after the ack wait at most.
				<-time.After(ackWait * 3 / 2)
				publish(t, c, "last", "")
				in.want("last")
				if got, want := in.ids(), append(slices.Clone(tc.again), "last"); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
					t.Errorf("%q came to another process, want %q", got, want)
				}
			})
		})
	}
}

// Without cut in stanwrap's Close, and the ctx that jswrap's shutdown gives to
// its receivers and its flights, Close or what it leaves behind waits for a
// handler and an acknowledgement that do not come.
func TestCloseIsBoundedByItsContextWhateverTheNetworkDoes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		for name, fault := range map[string]func(*netfault.Proxy){
			"nothing goes through":       func(p *netfault.Proxy) { p.BlackHole(netfault.Both) },
			"nothing comes back":         func(p *netfault.Proxy) { p.BlackHole(netfault.ToClient) },
			"cut":                        (*netfault.Proxy).Cut,
			"accepted and nothing said":  func(p *netfault.Proxy) { p.Mute(); p.Break() },
			"the server was not told":    (*netfault.Proxy).BreakClients,
			"the client was not told":    (*netfault.Proxy).BreakServers,
			"nothing reaches the server": func(p *netfault.Proxy) { p.BlackHole(netfault.ToServer) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := netfault.Run(t, b.url)
				c := connect(t, withID(b.config(p.URL()), t.Name()))
				// The handler heeds only the end of its context.
				started := make(chan struct{}, 10)
				group := strings.ReplaceAll(name, " ", "-")
				l := ticketing.NewListener(c, group, func(ctx context.Context, _ *ticketing.Delivery[events.TicketCreated]) error {
					started <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}, &ticketing.ListenerOptions{Logger: quiet})
				listening := make(chan error, 1)
				go func() { listening <- l.Listen(context.Background()) }()
				publish(t, c, "1", "")
				await(t, "the handler", started)

				fault(p)
				publishing := ticketing.NewPublisher[events.TicketCreated](c, &ticketing.PublisherOptions{Logger: quiet}).
					PublishAsync(t.Context(), events.TicketCreated{ID: "2"})
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				begin := time.Now()
				err := c.Close(ctx)
				if d := time.Since(begin); d > 3*time.Second {
					t.Errorf("Close took %v with a context of 300 ms", d)
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close = %v, want the context's error: a handler was left behind", err)
				}
				// What was cut short ends in a moment, and not with its own
				// timeouts of 5 s and more.
				select {
				case <-c.Closed():
				case <-time.After(4 * time.Second):
					t.Fatal("the client is not closed")
				}
				waiting, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := publishing.Wait(waiting); waiting.Err() != nil {
					t.Errorf("the publish has no outcome: %v", err)
				}
				if err := await(t, "Listen", listening); !errors.Is(err, ticketing.ErrClosed) {
					t.Errorf("Listen = %v, want ErrClosed", err)
				}
			})
		}
	})
}

// Without the Once in the shutdown of both adapters the second Close would
// panic, and without the channel that all wait for some would return early.
func TestAHundredClosesAtOnceAreOne(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		c := connect(t, b.config(b.url))
		in := listen(t, c, "g", ticketing.ListenerOptions{Concurrency: 4})
		publish(t, c, "0", "")
		in.want("0")
		p := ticketing.NewPublisher[events.TicketCreated](c, &ticketing.PublisherOptions{Logger: quiet})
		var receipts []*ticketing.Receipt
		for i := range 100 {
			receipts = append(receipts, p.PublishAsync(t.Context(), events.TicketCreated{ID: fmt.Sprint(i)}))
		}
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 100 {
			wg.Go(func() {
				<-begin
				if err := c.Close(t.Context()); err != nil {
					t.Errorf("Close = %v, want nil", err)
				}
				select {
				case <-c.Closed():
				default:
					t.Error("Close returned and the client is not closed")
				}
			})
		}
		close(begin)
		wg.Wait()
		for _, r := range receipts {
			if err := r.Wait(t.Context()); err != nil {
				t.Errorf("a publish from before Close = %v, want nil", err)
			}
		}
		if err := await(t, "Listen", in.ended); !errors.Is(err, ticketing.ErrClosed) {
			t.Errorf("Listen = %v, want ErrClosed", err)
		}
		if err := c.Err(); err != nil {
			t.Errorf("Err = %v, want nil", err)
		}
	})
}
