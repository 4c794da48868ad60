package sqlite

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver
)

// However many rows are kept, parked or waiting, the relay reads its own by
// their index.
func TestTheRelaysQueriesUseTheirIndexes(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, query, index string
		args               []any
	}{
		{"pending", s.q.pending, "outbox_pending", []any{0, 100}},
		{"bounded", s.q.bounded, "outbox_pending", []any{0, 100, 1, 100}},
		{"horizon", s.q.horizon, "outbox_pending", nil},
		{"purge", s.q.purge, "outbox_sent", []any{0, 100, 1, "holder"}},
		{"stats", s.q.stats, "outbox_pending", nil},
		{"unwait", s.q.unwait, "outbox_waiting", nil},
	} {
		rows, err := db.Query(`EXPLAIN QUERY PLAN `+tt.query, tt.args...)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "\n") + "\n"
		if !indexOf(tt.index).MatchString(text) || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s does not use %s alone:\n%s", tt.name, tt.index, text)
		}
	}
}

func indexOf(name string) *regexp.Regexp { return regexp.MustCompile(`INDEX ` + name + `\b`) }
