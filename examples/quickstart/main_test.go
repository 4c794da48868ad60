package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// lockedBuffer is written to by the publisher and the listener at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestTheQuickstartShowsEveryEventOnBothBrokers(t *testing.T) {
	for _, backend := range []natswrap.Backend{natswrap.JetStream, natswrap.Stan} {
		t.Run(string(backend), func(t *testing.T) {
			var out lockedBuffer
			if err := quickstart(t.Context(), &out, backend); err != nil {
				t.Fatalf("%v\n%s", err, out.b.String())
			}
			for _, line := range []string{
				"broker:    " + string(backend) + " on nats://127.0.0.1:",
				"publisher: T-1 stored on ticket:created\n",
				`listener:  T-1 "Concert" for 20, attempt 1, acknowledged` + "\n",
				"listener:  T-2 failed, it comes again\n",
				`listener:  T-2 "Theatre" for 20.5, attempt 2, acknowledged` + "\n",
				`listener:  T-3 "Opera & Ballet" for 80, attempt 1, acknowledged` + "\n",
				"done:      3 events published, 3 handled\n",
			} {
				if !strings.Contains(out.b.String(), line) {
					t.Errorf("%q is missing in\n%s", line, out.b.String())
				}
			}
		})
	}
}

func TestTheQuickstartRefusesAnUnknownBackend(t *testing.T) {
	err := quickstart(t.Context(), new(lockedBuffer), "kafka")
	if err == nil || !strings.Contains(err.Error(), `unknown backend "kafka": it is jetstream or stan`) {
		t.Errorf("error %v", err)
	}
}
