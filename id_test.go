package ticketing

import (
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestANewIDIsAUUIDv7OfNow(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		now := time.Now()
		id := newID(now)
		u, err := uuid.Parse(id)
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || u.String() != id {
			t.Fatalf("%q is no UUIDv7: %v", id, err)
		}
		// The library's own reading of the time in it.
		sec, nsec := u.Time().UnixTime()
		if ms := sec*1000 + nsec/1e6; ms != now.UnixMilli() {
			t.Fatalf("%q is of %d, want %d", id, ms, now.UnixMilli())
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(newID(time.Now())) {
		t.Error("not in lower case")
	}
}
