package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type ticketCreated struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Price int    `json:"price"`
}

func (ticketCreated) Subject() ticketing.Subject { return "ticket:created" }
func (e ticketCreated) Key() string              { return e.ID }

type orderCreated struct {
	ID     string `json:"id"`
	UserID string `json:"userId"`
}

func (orderCreated) Subject() ticketing.Subject { return "order:created" }
func (e *orderCreated) Key() string             { return e.ID }

type expired struct {
	OrderID string `json:"orderId"`
}

func (expired) Subject() ticketing.Subject { return "expiration:complete" }

var (
	errBoom = errors.New("boom")
	quiet   = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// publish publishes one event of any type.
func publish[E ticketing.Event](t testing.TB, r *natstest.Recorder, e E) {
	t.Helper()
	if err := ticketing.NewPublisher[E](r, nil).Publish(context.Background(), e); err != nil {
		t.Errorf("publish %+v: %v", e, err)
	}
}

// fakeTB is the test that a helper under test fails.
type fakeTB struct {
	testing.TB // nil: any other method is a mistake
	helper     bool
	failed     bool
	text       strings.Builder
}

func (f *fakeTB) Helper() { f.helper = true }

func (f *fakeTB) Fatalf(format string, args ...any) {
	fmt.Fprintf(&f.text, format, args...)
	f.failed = true
	runtime.Goexit()
}

// run calls a helper with a fake test and returns what it failed with, or "".
func run(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	fake := new(fakeTB)
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(fake)
		returned = true
	}()
	<-done
	if !fake.helper {
		t.Error("the helper did not mark itself with Helper")
	}
	if returned == fake.failed {
		t.Errorf("returned = %t, failed = %t", returned, fake.failed)
	}
	return fake.text.String()
}

// wantText compares the text of a failure, whole.
func wantText(t *testing.T, got, want string) {
	t.Helper()
	want = strings.Trim(want, "\n")
	if got != want {
		t.Errorf("text is\n%s\nwant\n%s", got, want)
	}
}
