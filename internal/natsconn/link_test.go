package natsconn

import "testing"

func TestALinkTellsThoseWhoWaitOfEveryChange(t *testing.T) {
	var l Link
	down := l.Load()
	if down.Up {
		t.Fatal("the zero link is up")
	}
	l.Set(true)
	<-down.Changed
	up := l.Load()
	if !up.Up {
		t.Fatal("the link is down after Set(true)")
	}
	select {
	case <-up.Changed:
		t.Fatal("the state is over before it changed")
	default:
	}
	l.Set(true)
	<-up.Changed
}
