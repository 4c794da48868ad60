package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// transcript keeps every error and every log line of a client.
type transcript struct{ testlog.Buffer }

// note adds what a call returned, in every form that it may be printed in.
func (r *transcript) note(v any) {
	fmt.Fprintf(r, "%v\n%+v\n%#v\n%q\n", v, v, v, fmt.Sprint(v))
}

// Without redactError in natsconn.Dial and State, and attrs in natswrap's
// Config, the texts have the URL.
func TestThePasswordIsInNothingThatAClientSaysInItsLife(t *testing.T) {
	t.Parallel()
	password := func(o *natsd.Options, secret string) { o.Username, o.Password = "user", secret }
	for name, tc := range map[string]struct {
		server  func(o *natsd.Options, secret string)
		secret  string // what the server wants
		urls    string // HOST is where it is
		needles []string
	}{
		"plain":           {password, "sesame-1", "nats://user:sesame-1@HOST", []string{"sesame"}},
		"token":           {func(o *natsd.Options, secret string) { o.Authorization = secret }, "sesame-1", "nats://sesame-1@HOST", []string{"sesame"}},
		"several hosts":   {password, "sesame-1", "nats://user:sesame-1@127.0.0.1:1,nats://user:s%65same-1@HOST", []string{"sesame", "s%65same"}},
		"percent-encoded": {password, "p@ss/wörd?%#", "nats://user:p%40ss%2Fw%C3%B6rd%3F%25%23@HOST", []string{"p@ss", "wörd", "p%40ss", "%C3%B6rd"}},
	} {
		with := func(secret string) func(*natsd.Options) {
			return func(o *natsd.Options) { tc.server(o, secret) }
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothWith(t, with(tc.secret), func(t *testing.T, b *broker) {
				p := netfault.Run(t, b.url)
				var said transcript
				log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
				cfg := b.config("")
				cfg.Logger = log
				cfg.URLs = strings.Split(strings.ReplaceAll(tc.urls, "HOST", p.Addr()), ",")
				log.Info("connecting", "config", cfg)
				said.note(cfg)
				said.note(&cfg)

				b.options = with("another")
				if err := b.restart(); err != nil {
					t.Fatal(err)
				}
				_, err := natswrap.Connect(t.Context(), cfg)
				if err == nil {
					t.Fatal("it connected with another password")
				}
				said.note(err)
				b.options = with(tc.secret)
				if err := b.restart(); err != nil {
					t.Fatal(err)
				}
				p.Cut()
				_, err = natswrap.Connect(t.Context(), cfg)
				said.note(err)
				p.Heal()

				c := connect(t, cfg)
				in := listen(t, c, "g", ticketing.ListenerOptions{Logger: log})
				publish(t, c, "1", "")
				in.want("1")
				p.Cut()
				until(t, "the connection is lost", func() bool { return !c.Healthy() })
				said.note(tryPublish(t.Context(), c, "2", ""))
				until(t, "it tried to reconnect", func() bool { return strings.Contains(said.String(), "reconnect failed") })
				p.Heal()
				until(t, "the connection is back", c.Healthy)
				publish(t, c, "3", "")
				in.want("3")

				b.options = with("another")
				if err := b.restart(); err != nil {
					t.Fatal(err)
				}
				await(t, "the end of the client", c.Closed())
				said.note(c.Err())
				said.note(tryPublish(t.Context(), c, "4", ""))
				said.note(await(t, "Listen", in.ended))
				said.note(c.Close(t.Context()))
				for _, needle := range tc.needles {
					if text := said.String(); strings.Contains(text, needle) {
						i := strings.Index(text, needle)
						t.Errorf("%q was said: %s", needle, text[max(0, i-200):min(len(text), i+100)])
					}
				}
			})
		})
	}
}

// routed is an event whose author trusts its users.
type routed struct {
	To ticketing.Subject `json:"-"`
	ID string            `json:"id"`
}

func (e routed) Subject() ticketing.Subject {
	if e.To != "" {
		return e.To
	}
	return ticketing.SubjectTicketCreated
}

// Without the comparison with the type's own subject in ticketing's encode, the
// event would go where its sender says.
func TestASubjectFromAPayloadGoesNowhereElse(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		c := connect(t, b.config(b.url))
		p := ticketing.NewPublisher[routed](c, nil)
		for _, to := range []ticketing.Subject{
			ticketing.SubjectOrderCreated, ">", "ticket:*", "ticket created", "a\r\nPUB order:created 2\r\n{}", "$JS.API.STREAM.DELETE.TICKETING", "_STAN.close.ticketing", "dead.g.ticket:created",
		} {
			err := p.Publish(t.Context(), routed{To: to, ID: "astray"})
			if !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) || !errors.Is(err, ticketing.ErrInvalidSubject) {
				t.Errorf("Publish to %q = %v, want it rejected for its subject", to, err)
			}
		}
		if err := p.Publish(t.Context(), routed{ID: "good"}); err != nil {
			t.Fatal(err)
		}
		in := listen(t, c, "g", ticketing.ListenerOptions{})
		in.want("good")
		if got := in.ids(); len(got) != 1 {
			t.Errorf("events %q, want the good one", got)
		}
		orders := make(chan string, 1)
		l := ticketing.NewListener(c, "g", func(_ context.Context, d *ticketing.Delivery[events.OrderCreated]) error {
			orders <- d.Event.ID
			return nil
		}, &ticketing.ListenerOptions{Logger: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		listening := make(chan error, 1)
		go func() { listening <- l.Listen(ctx) }()
		if err := ticketing.NewPublisher[events.OrderCreated](c, nil).Publish(t.Context(), events.OrderCreated{ID: "first"}); err != nil {
			t.Fatal(err)
		}
		if got := await(t, "an order", orders); got != "first" {
			t.Errorf("order %q, want only what was published as one", got)
		}
		cancel()
		if err := await(t, "Listen", listening); err != nil {
			t.Error(err)
		}
	})
}

// A key stays in the payload: were it a part of a subject or a header, these
// could not be published. Without the lane of a key in ticketing's decode the
// second event overtakes the first; without oneLine there the text of a
// handler's error keeps its dead letter from being stored.
func TestAKeyMayBeAnyText(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		c := connect(t, b.config(b.url))
		keys := []string{"", " ", "*", ">", "a.b.>", "new\r\nline", "\x00", "\xff", "日本", "a/../b", strings.Repeat("k", 100_000)}
		for _, title := range []string{"1", "2"} {
			for _, key := range keys {
				publish(t, c, key, title)
			}
		}
		type seen struct{ key, title string }
		got := make(chan seen, 100)
		buried := make(chan struct{}, 100)
		failed := make(map[string]bool)
		var mu sync.Mutex
		l := ticketing.NewListener(c, "g", func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			mu.Lock()
			defer mu.Unlock()
			if !failed[d.Event.ID] { // the first event of a key is tried again, before the second
				failed[d.Event.ID] = true
				return errors.New("not yet\r\nInjected: yes")
			}
			got <- seen{d.Event.ID, d.Event.Title}
			if d.Event.Title == "2" {
				return ticketing.Permanent(errors.New("no more\r\nInjected: yes"))
			}
			return nil
		}, &ticketing.ListenerOptions{
			Concurrency: 4, MinBackoff: 10 * time.Millisecond, Logger: quiet,
			OnDeadLetter: func(ticketing.DeadLetter) { buried <- struct{}{} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		listening := make(chan error, 1)
		go func() { listening <- l.Listen(ctx) }()
		order := make(map[string]string)
		for range 2 * len(keys) {
			e := await(t, "an event", got)
			order[e.key] += e.title
		}
		for range keys {
			await(t, "a dead letter", buried)
		}
		for _, key := range keys {
			if key == "" {
				continue // no key: no order
			}
			if key == "\xff" {
				key = "\ufffd" // JSON is UTF-8
			}
			if order[key] != "12" {
				t.Errorf("key %.20q: events %q, want 12", key, order[key])
			}
		}
		cancel()
		if err := await(t, "Listen", listening); err != nil {
			t.Error(err)
		}
	})
}

// verbatim publishes tickets as any text.
type verbatim struct{}

func (verbatim) Marshal(v any) ([]byte, error) {
	return []byte(v.(*events.TicketCreated).Title), nil
}
func (verbatim) Unmarshal([]byte, any) error { return errors.ErrUnsupported }

// decoder is a service that listens and says how much memory it holds.
func decoder(ctx context.Context) error {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		return err
	}
	cfg.Logger = quiet
	say := func(what string) {
		runtime.GC() // what is held, and not what is not collected yet
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(what, m.HeapAlloc>>20, "MiB")
	}
	return natswrap.Run(ctx, cfg, func(running context.Context, c *natswrap.Client) error {
		l := ticketing.NewListener(c, serviceGroup, func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			say("handled-" + d.Event.ID)
			return nil
		}, &ticketing.ListenerOptions{
			Concurrency: 4, Window: 8, Logger: quiet,
			OnDeadLetter: func(ticketing.DeadLetter) { say("buried") },
		})
		process.Ready(ctx, "")
		return l.Listen(running)
	})
}

// encoding/json bounds the depth. Without the window in the adapters' intake
// the process would hold all of it at once; without bury in ticketing what
// cannot be decoded would come for ever.
func TestHugeAndDeepPayloadsTakeBoundedMemoryAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	fill := func(size int, before, part, after string) string {
		return before + strings.Repeat(part, (size-len(before)-len(after))/len(part)) + after
	}
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	bad := []string{
		fill(size, "", "[", ""), fill(size, "", `{"id":`, ""), fill(size, `{"id":"`, "a", ""), fill(size, "", "\x00", ""), fill(size, "", "null", ""),
		fill(size, `{"id":`, "1", "}"), nested(100_000), `{"x":` + nested(10_001) + "}",
	}
	good := []string{
		fill(size, `{"title":"`, "a", `","id":"ID"}`), fill(size, `{"x":[[]`, ",[]", `],"id":"ID"}`), fill(size, `{"x":{"a":1`, `,"a":1`, `},"id":"ID"}`),
		fill(size, `{"id":"x"`, `,"id":"x"`, `,"id":"ID"}`), fill(size, "", " ", `{"id":"ID"}`), `{"x":` + nested(9_000) + `,"id":"ID"}`,
	}
	// Together the last ones are more than the process may hold. A dead
	// letter's headers have room below the server's limit of 1 MiB.
	const more = 32
	huge := fill(1<<20-4096, "", "[", "")
	onBoth(t, func(t *testing.T, b *broker) {
		c := connect(t, b.config(b.url))
		p := ticketing.NewPublisher[events.TicketCreated](c, &ticketing.PublisherOptions{Codec: verbatim{}})
		send := func(payload string) {
			t.Helper()
			if err := p.Publish(t.Context(), events.TicketCreated{Title: payload}); err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for i, payload := range good {
			id := fmt.Sprint(i)
			send(strings.ReplaceAll(payload, "ID", id))
			want = append(want, id)
		}
		for _, payload := range bad {
			send(payload)
		}
		for range more {
			send(huge)
		}
		send(`{"id":"last"}`)
		want = append(want, "last")
		d := runChild(t, b, "decoder")
		var handled []string
		memory, buried := 0, 0
		until(t, "everything was handled or buried", func() bool {
			handled, memory, buried = nil, 0, 0
			for _, line := range d.printed() {
				what, mib := "", 0
				if n, _ := fmt.Sscanf(line, "decoder: %s %d MiB", &what, &mib); n != 2 {
					continue
				}
				memory = max(memory, mib)
				if id, ok := strings.CutPrefix(what, "handled-"); ok {
					handled = append(handled, id)
				} else {
					buried++
				}
			}
			return len(handled) == len(want) && buried == len(bad)+more
		})
		slices.Sort(handled)
		slices.Sort(want)
		if !slices.Equal(handled, want) {
			t.Errorf("handled %q, want %q", handled, want)
		}
		if memory > 24 {
			t.Errorf("it took %d MiB", memory)
		}
	})
}
