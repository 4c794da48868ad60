// Load sends requests to the service as it is built, with the embedded broker,
// and measures how many it answers in a second, how many events wait in the
// outbox meanwhile, and whether its memory grows. At the end it waits until the
// broker has them all. Broker and database are on files.
//
//	go run ./examples/tickets/load
//	go run ./examples/tickets/load -backend=stan -n 20000 -c 1
//	go run ./examples/tickets/load -apart -growth 1.25
//
// With -apart the broker runs in this process, and the memory is the service's
// own. Without, JetStream's is in it too, which grows with the rate until its
// window is full: it keeps the ids of some minutes to find duplicates, 0.2 KiB
// each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/process"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	outbox "github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func main() {
	var l load
	flag.StringVar(&l.backend, "backend", "jetstream", "the `broker`: jetstream or stan")
	flag.IntVar(&l.requests, "n", 100_000, "how many `requests`, each of which makes a ticket")
	flag.IntVar(&l.clients, "c", 64, "how many `clients` send them at once")
	flag.BoolVar(&l.apart, "apart", false, "run the broker in this process, so that the service's memory is its own alone")
	flag.Float64Var(&l.growth, "growth", 0, "fail when the memory grows to more than `times` what it is after a fifth of the requests; 0: never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

const jwtKey = "load"

// load is one measurement.
type load struct {
	backend           string
	requests, clients int
	apart             bool
	growth            float64
	buildFlags        []string
}

func (l *load) run(ctx context.Context, out io.Writer) (err error) {
	if l.requests < samples || l.clients < 1 {
		return fmt.Errorf("-n is at least %d, -c at least 1", samples)
	}
	dir, err := os.MkdirTemp("", "tickets-load-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, err := process.Build(ctx, dir, l.buildFlags...)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, filepath.Join(dir, "tickets.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	env := map[string]string{
		"NATS_URL":   "",
		"PORT":       "0",
		"JWT_KEY":    jwtKey,
		"TICKETS_DB": filepath.Join(dir, "tickets.db"),
		"LOG_LEVEL":  "warn",
		"TMPDIR":     dir, // for the broker's files
	}
	if l.apart {
		stop, err := l.startBroker(dir, env)
		if err != nil {
			return err
		}
		defer stop()
	}
	p, err := process.Start(bin, env, "-backend="+l.backend)
	if err != nil {
		return err
	}
	defer p.Kill()
	fmt.Fprintf(out, "%s, %d clients, %d CPUs that they share with the service\n\n", l.backend, l.clients, runtime.NumCPU())
	fmt.Fprintf(out, "%10s %12s %10s %10s %10s %10s\n", "requests", "requests/s", "median", "99 %", "waiting", "memory")
	first, last, err := l.measure(ctx, out, p, db.Outbox)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.Log())
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	stopping, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if status, err := p.Wait(stopping); err != nil || status != 0 {
		return fmt.Errorf("the service ended with status %d: %w\n%s", status, err, p.Log())
	}
	if l.growth > 0 && last > l.growth*first {
		return fmt.Errorf("the memory grew from %.0f to %.0f MiB", first, last)
	}
	return nil
}

// startBroker starts the broker here, with the service's environment leading
// to it.
func (l *load) startBroker(dir string, env map[string]string) (stop func(), err error) {
	env["NATS_CLIENT_ID"] = "tickets"
	if l.backend == string(natswrap.Stan) {
		s, err := stanserver.Start(stanserver.StoreDir(filepath.Join(dir, "broker")))
		if err != nil {
			return nil, err
		}
		env["NATS_URL"], env["NATS_CLUSTER_ID"] = s.URL(), s.ClusterID()
		return s.Shutdown, nil
	}
	s, err := natsserver.Start(natsserver.StoreDir(filepath.Join(dir, "broker")))
	if err != nil {
		return nil, err
	}
	env["NATS_URL"] = s.URL()
	return s.Shutdown, nil
}

// samples is how many lines there are.
const samples = 10

// measure sends all requests and prints a line for every tenth of them, and
// then waits for their events. It returns the memory after a fifth of the
// requests and at their end, in MiB.
func (l *load) measure(ctx context.Context, out io.Writer, p *process.Process, events *outbox.Store) (first, last float64, err error) {
	token, err := auth.New(jwtKey).Sign(auth.User{ID: "load"})
	if err != nil {
		return 0, 0, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: l.clients}
	defer transport.CloseIdleConnections()
	c := &client{&http.Client{Transport: transport, Timeout: time.Minute}, p.URL, token}
	start := time.Now()
	for i := range samples {
		n := l.requests*(i+1)/samples - l.requests*i/samples
		turn := time.Now()
		times, err := l.send(ctx, c, n)
		if err != nil {
			return 0, 0, err
		}
		rate := float64(n) / time.Since(turn).Seconds()
		if last, err = memory(p.PID()); err != nil {
			return 0, 0, err
		}
		if i == 1 {
			first = last
		}
		stats, err := events.Stats(ctx)
		if err != nil {
			return 0, 0, err
		}
		slices.Sort(times)
		fmt.Fprintf(out, "%10d %12.0f %10v %10v %10d %6.0f MiB\n", l.requests*(i+1)/samples, rate,
			times[len(times)/2].Round(10*time.Microsecond), times[len(times)*99/100].Round(10*time.Microsecond), stats.Pending, last)
	}
	answered := time.Now()
	if err := l.await(ctx, events); err != nil {
		return 0, 0, err
	}
	fmt.Fprintf(out, "\n%.0f requests/s over all; the broker had all events %v later\n",
		float64(l.requests)/answered.Sub(start).Seconds(), time.Since(answered).Round(time.Millisecond))
	return first, last, nil
}

// await waits until the relay has published an event for each request.
func (l *load) await(ctx context.Context, events *outbox.Store) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for patience := time.After(time.Minute); ; {
		stats, err := events.Stats(ctx)
		if err != nil || stats.Published >= int64(l.requests) {
			return err
		}
		select {
		case <-tick.C:
		case <-patience:
			return fmt.Errorf("%d of %d events are not published a minute after the last request", stats.Pending, l.requests)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends n requests and returns how long each took.
func (l *load) send(ctx context.Context, c *client, n int) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	errs := make([]error, l.clients)
	var next atomic.Int64
	var clients sync.WaitGroup
	for k := range l.clients {
		clients.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[k] == nil; i = next.Add(1) - 1 {
				start := time.Now()
				errs[k] = c.create(ctx)
				times[i] = time.Since(start)
			}
		})
	}
	clients.Wait()
	return times, errors.Join(errs...)
}

type client struct {
	http  *http.Client
	url   string
	token string
}

// create makes a ticket.
func (c *client) create(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/tickets", strings.NewReader(`{"title":"Concert","price":20}`))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return err
}
