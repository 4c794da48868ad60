package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/api"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// silent is the service without its events: Create is that of package tickets
// less the publish.
type silent struct {
	*tickets.Service
	store *store.Store
}

func (s silent) Create(ctx context.Context, userID string, terms tickets.Terms) (store.Ticket, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return store.Ticket{}, err
	}
	t := store.Ticket{ID: id.String(), Title: terms.Title, Price: terms.Price, UserID: userID}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return t, s.store.Tx(ctx, func(tx *store.Tx) error { return tx.Insert(ctx, t) })
}

// BenchmarkCreate is what publishing costs a request: the handler with the
// recorder beside the same handler without a publish, in turns. The ratio is
// the median of the turns'.
//
//	go test -bench Create ./examples/tickets/internal/api
func BenchmarkCreate(b *testing.B) {
	for _, where := range []string{"memory", "file"} {
		b.Run(where, func(b *testing.B) {
			open := func(name string) *store.Store {
				path := store.Memory
				if where == "file" {
					path = filepath.Join(b.TempDir(), name)
				}
				s, err := store.Open(b.Context(), path)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { s.Close() })
				return s
			}
			a := auth.New("key")
			token, err := a.Sign(auth.User{ID: "ann"})
			if err != nil {
				b.Fatal(err)
			}
			opts := &api.Options{Logger: slog.New(slog.DiscardHandler)}
			var r natstest.Recorder
			with := api.New(tickets.New(open("with.db"), &r), a, opts)
			s := open("without.db")
			without := api.New(silent{tickets.New(s, &r), s}, a, opts)

			const turn = 100
			create := func(h http.Handler) time.Duration {
				start := time.Now()
				for range turn {
					req := httptest.NewRequest(http.MethodPost, "/api/tickets", strings.NewReader(`{"title":"Opera","price":20}`))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", "Bearer "+token)
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, req); w.Code != http.StatusCreated {
						b.Fatalf("status %d: %s", w.Code, w.Body)
					}
				}
				return time.Since(start)
			}
			create(with)
			create(without)
			var ratios []float64
			var ours, theirs time.Duration
			for b.Loop() {
				var x, y time.Duration
				if len(ratios)%2 == 0 {
					x, y = create(with), create(without)
				} else {
					y, x = create(without), create(with)
				}
				ours, theirs = ours+x, theirs+y
				ratios = append(ratios, float64(x)/float64(y))
				r.Reset()
			}
			slices.Sort(ratios)
			n := float64(len(ratios) * turn)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(ours.Nanoseconds())/n, "ns/request")
			b.ReportMetric(float64(theirs.Nanoseconds())/n, "ns/silent")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
		})
	}
}
