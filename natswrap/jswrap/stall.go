package jswrap

import (
	"cmp"
	"slices"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// stall is a subject for which nobody answers: its stream elects a leader, or
// is gone. What is published to it waits behind the first that met it, which
// is tried again with a growing pause; once that one has its outcome all
// follow in their order. What was under way already may have overtaken it.
//
// Each waits for AckTimeout at most, as any publish. Stalls belong to the
// writer's goroutine.
type stall struct {
	subject ticketing.Subject
	held    []*pending // by token
	probe   *pending   // the one that is tried, or nil
	pause   time.Duration
	timer   *time.Timer
}

// The pauses between two tries, and between two looks at one that is open.
const (
	stallMinPause = 100 * time.Millisecond
	stallMaxPause = 250 * time.Millisecond
	stallLook     = 20 * time.Millisecond
)

// stalled handles that nobody answered for p.
func (w *wire) stalled(p *pending) {
	if !w.link.Load().Up {
		return // what is open is written to the next connection
	}
	s := w.stalls[p.m.Subject]
	switch {
	case s == nil:
		s = &stall{subject: p.m.Subject, pause: stallMinPause}
		s.timer = time.AfterFunc(s.pause, func() { w.push(frame{call: func() { w.step(s) }}) })
		if w.stalls == nil {
			w.stalls = make(map[ticketing.Subject]*stall)
		}
		w.stalls[s.subject] = s
	case s.probe == p:
		s.probe = nil
		s.pause = min(2*s.pause, stallMaxPause)
		s.timer.Reset(s.pause)
	}
	s.hold(p)
}

// hold keeps p back where its subject is stalled, or returns false.
func (w *wire) hold(p *pending) bool {
	s := w.stalls[p.m.Subject]
	if s == nil {
		return false
	}
	w.flights.stall(p)
	s.hold(p)
	return true
}

func (s *stall) hold(p *pending) {
	if p.state.Load() != stateQueued {
		return
	}
	i, found := slices.BinarySearchFunc(s.held, p, func(a, b *pending) int { return cmp.Compare(a.token, b.token) })
	if !found {
		s.held = slices.Insert(s.held, i, p)
	}
}

// step tries the first that is held, or lets all go when it got through.
func (w *wire) step(s *stall) {
	if w.stalls[s.subject] != s {
		return // it is over
	}
	s.held = slices.DeleteFunc(s.held, func(p *pending) bool { return p.state.Load() == stateSettled })
	if s.probe != nil {
		switch s.probe.state.Load() {
		case stateWritten:
			s.timer.Reset(stallLook)
			return
		case stateSettled:
			w.release(s)
			return
		}
	}
	if len(s.held) == 0 {
		w.release(s)
		return
	}
	// One whose time is nearly over is surely not sent; another copy of it,
	// without an answer, would make that unknown.
	i := slices.IndexFunc(s.held, func(p *pending) bool { return !w.flights.ending(p) })
	if i < 0 {
		s.timer.Reset(stallLook)
		return
	}
	s.probe = s.held[i]
	s.held = slices.Delete(s.held, i, i+1)
	w.send(s.probe)
	s.timer.Reset(stallLook)
}

// release ends a stall. Where it was let go too early, they meet again.
func (w *wire) release(s *stall) {
	s.timer.Stop()
	delete(w.stalls, s.subject)
	for _, p := range s.held {
		w.send(p)
	}
}

// forgetStalls ends all stalls, for what is held is written by other means.
func (w *wire) forgetStalls() {
	for _, s := range w.stalls {
		s.timer.Stop()
	}
	clear(w.stalls)
}
