package stanwrap

import (
	"slices"
	"testing"
)

func all(*request) bool { return true }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAWindowKnowsWhatIsInIt(t *testing.T) {
	w := newWindow(8)
	rs := []*request{{}, {}, {}, {}}
	for _, r := range rs {
		if !w.enter(r) || r.admitted != nil {
			t.Fatal("a window with room does not let in at once")
		}
	}
	if got := w.take(); !slices.Equal(got, rs) {
		t.Error("the queue is not in the order in which they came")
	}
	left := map[*request]bool{rs[0]: true, rs[1]: true, rs[2]: true, rs[3]: true}
	for _, i := range []int{1, 3, 0, 2} { // the middle, both ends, the last
		w.leave(rs[i])
		delete(left, rs[i])
		found := w.find(all)
		if len(found) != len(left) {
			t.Errorf("%d found, want %d", len(found), len(left))
		}
		for _, r := range found {
			if !left[r] {
				t.Error("found one that has left")
			}
		}
	}
}

func TestAFullWindowLetsInInOrderOnceThereIsRoom(t *testing.T) {
	w := newWindow(16) // goes on when 2 are free
	in := make([]*request, 16)
	for i := range in {
		in[i] = new(request)
		w.enter(in[i])
	}
	line := []*request{{}, {}, {}, {}}
	for _, r := range line {
		w.enter(r)
	}
	if !w.giveUp(line[1]) || w.giveUp(line[1]) {
		t.Error("giving up works other than once")
	}
	w.take()
	w.leave(in[0])
	if isClosed(line[0].admitted) {
		t.Error("a sender is woken for a single place")
	}
	w.leave(in[1])
	if !isClosed(line[0].admitted) || !isClosed(line[2].admitted) || isClosed(line[3].admitted) {
		t.Error("want the first two in line let in")
	}
	if isClosed(line[1].admitted) || w.giveUp(line[0]) {
		t.Error("who gave up was let in, or the other way round")
	}
	if got := w.take(); !slices.Equal(got, []*request{line[0], line[2]}) {
		t.Error("they are not queued in order")
	}
}

func TestAClosedWindowLetsNobodyInAndTellsWhenItIsEmpty(t *testing.T) {
	w := newWindow(1)
	in, waiting := new(request), new(request)
	w.enter(in)
	w.enter(waiting)
	w.close()
	if !isClosed(w.shut) || isClosed(w.empty) || w.enter(new(request)) {
		t.Error("want it shut, not empty, and to let nobody in")
	}
	w.leave(in)
	if !isClosed(w.empty) || isClosed(waiting.admitted) {
		t.Error("want it empty, and nobody let in from the line")
	}
	idle := newWindow(1)
	idle.close()
	if !isClosed(idle.empty) {
		t.Error("a window that was empty when it closed does not tell")
	}
}
