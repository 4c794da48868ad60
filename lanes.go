package ticketing

import "time"

// laneKey names a lane: the event's key, or for an event without one its
// sequence, so that a redelivery queues behind the delivery that still runs.
type laneKey struct {
	key string
	seq uint64
}

// lane is a queue of jobs that are worked on one after the other. Its head is
// ready for a worker, or with a worker, or waiting for its next attempt. A lane
// without a head has only jobs that are early.
type lane struct {
	key        laneKey
	head, tail *job
	early      *job        // set aside until others are done, the lowest version first
	running    bool        // a worker has the head
	lost       bool        // and its handler does not return
	backoff    *time.Timer // until the head's next attempt
	due        time.Time   // when that is
	next       *lane       // the next ready one, or the next free one
}

// lanes holds the lanes that have jobs, and the order in which the ready ones
// get a worker: each in turn, one job at a time. It is not safe for concurrent
// use.
type lanes struct {
	byKey       map[laneKey]*lane
	first, last *lane // ready
	free        *lane
}

// add queues j in its lane and reports whether the lane has become ready.
func (s *lanes) add(j *job) (ln *lane, ready bool) {
	ln = s.byKey[j.lane]
	if ln != nil && ln.head != nil {
		ln.tail.next = j
		ln.tail = j
		return ln, false
	}
	if ln != nil { // what it has is early
		ln.head, ln.tail = j, j
		s.ready(ln)
		return ln, true
	}
	ln = s.free
	if ln == nil {
		ln = new(lane)
	} else {
		s.free, ln.next = ln.next, nil
	}
	ln.key, ln.head, ln.tail = j.lane, j, j
	if s.byKey == nil {
		s.byKey = make(map[laneKey]*lane)
	}
	s.byKey[j.lane] = ln
	s.ready(ln)
	return ln, true
}

// ready puts ln behind the lanes that wait for a worker.
func (s *lanes) ready(ln *lane) {
	if s.first == nil {
		s.first = ln
	} else {
		s.last.next = ln
	}
	s.last = ln
}

// take returns the ready lane whose turn it is, or nil.
func (s *lanes) take() *lane {
	ln := s.first
	if ln != nil {
		s.first, ln.next = ln.next, nil
		ln.running = true
	}
	return ln
}

// finish takes the head off ln, which a worker has. The next one is the first
// of those that are early: its turn may have come. Without jobs ln is free.
func (s *lanes) finish(ln *lane) {
	ln.running = false
	ln.head = ln.head.next
	if ln.early != nil {
		ln.recall(&ln.early)
	}
	if ln.head != nil {
		s.ready(ln)
		return
	}
	delete(s.byKey, ln.key)
	*ln = lane{next: s.free}
	s.free = ln
}

// setAside takes the head off ln, which a worker has, until it is recalled.
func (s *lanes) setAside(ln *lane) {
	j := ln.head
	ln.running = false
	ln.head = j.next
	at := &ln.early
	for *at != nil && (*at).wait.version <= j.wait.version {
		at = &(*at).next
	}
	j.next, *at = *at, j
	j.wait.aside = true
	if ln.head != nil {
		s.ready(ln)
	}
}

// comeBack recalls a job that is still aside when its pause is over, and
// reports whether its lane has become ready.
func (s *lanes) comeBack(j *job) bool {
	if !j.wait.aside {
		return false
	}
	ln := s.byKey[j.lane]
	at := &ln.early
	for *at != j {
		at = &(*at).next
	}
	idle := ln.head == nil
	ln.recall(at)
	if idle {
		s.ready(ln)
	}
	return idle
}

// recall makes an early job the next one of its lane.
func (ln *lane) recall(at **job) {
	j := *at
	*at = j.next
	j.wait.aside = false
	j.wait.timer.Stop()
	if ln.running || ln.backoff != nil { // the head keeps its place
		j.next, ln.head.next = ln.head.next, j
		if ln.tail == ln.head {
			ln.tail = j
		}
		return
	}
	if ln.head == nil {
		ln.tail = j
	}
	j.next, ln.head = ln.head, j
}

// isLost reports whether the lane of that key has a handler that does not
// return.
func (s *lanes) isLost(key laneKey) bool {
	ln := s.byKey[key]
	return ln != nil && ln.lost
}

// drain empties all lanes of what no worker has, and calls f for each job, in
// order within its lane, with the wait that its lane has left.
func (s *lanes) drain(f func(j *job, wait time.Duration)) {
	s.first, s.last = nil, nil
	for key, ln := range s.byKey {
		if ln.drain(f); ln.head == nil {
			delete(s.byKey, key)
		}
	}
}

// drain is the same for one lane.
func (ln *lane) drain(f func(j *job, wait time.Duration)) {
	ln.next = nil
	for ; ln.early != nil; ln.early = ln.early.next {
		ln.early.wait.aside = false
		ln.early.wait.timer.Stop()
		f(ln.early, max(0, time.Until(ln.early.wait.due)))
	}
	wait := time.Duration(0)
	if ln.backoff != nil {
		ln.backoff.Stop()
		ln.backoff = nil
		wait = max(0, time.Until(ln.due))
	}
	j := ln.head
	if ln.running {
		j, ln.head.next, ln.tail = ln.head.next, nil, ln.head
	} else {
		ln.head = nil
	}
	for ; j != nil; j = j.next {
		f(j, wait)
	}
}
