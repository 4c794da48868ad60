package deadletter_test

import (
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

func TestARefIsReadAsItIsWritten(t *testing.T) {
	r := deadletter.Ref{Group: "orders-srv", Subject: "ticket:created", Sequence: 7}
	if r.String() != "orders-srv/ticket:created/7" || r.Channel() != "dead.orders-srv.ticket:created" {
		t.Errorf("%v on %s", r, r.Channel())
	}
	if got, err := deadletter.ParseRef(r.String()); err != nil || got != r {
		t.Errorf("ParseRef = %v, %v", got, err)
	}
	for _, s := range []string{"", "7", "a/7", "a/b/", "a/b/0", "a/b/-1", "a/b/7/8", "a b/c/7", "a/b*/7", "/b/7", "a//7", strings.Repeat("g", 1000) + "/b/1"} {
		if got, err := deadletter.ParseRef(s); err == nil || len(err.Error()) > 500 {
			t.Errorf("ParseRef(%.20q) = %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]bool{"dead.g.s": true, "dead.g.s.t": true, "dead.g": false, "dead": false, "deadly.g.s": false, "dead..s": false, "dead.g.": false} {
		if _, _, ok := deadletter.ParseChannel(ticketing.Subject(s)); ok != want {
			t.Errorf("ParseChannel(%s) says %v", s, ok)
		}
	}
}
