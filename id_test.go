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
		before := time.Now().UnixMilli()
		id := newID()
		after := time.Now().UnixMilli()
		u, err := uuid.Parse(id)
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || u.String() != id {
			t.Fatalf("%q is no UUIDv7: %v", id, err)
		}
		// The library's own reading of the time in it.
		sec, nsec := u.Time().UnixTime()
		if ms := sec*1000 + nsec/1e6; ms < before || ms > after {
			t.Fatalf("%q is of %d, made between %d and %d", id, ms, before, after)
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(newID()) {
		t.Error("not in lower case")
	}
}
