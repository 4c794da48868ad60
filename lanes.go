package ticketing

import "time"

// laneKey names a lane: the event's key, or for an event without one its
// sequence, so that a redelivery queues behind the delivery that still runs.
type laneKey struct {
	key string
	seq uint64
}

// lane is a queue of jobs that are worked on one after the other. Its head is
// ready for a worker, or with a worker, or waiting for its next attempt.
type lane struct {
	key        laneKey
	head, tail *job
	running    bool        // a worker has the head
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
func (s *lanes) add(j *job) bool {
	if ln := s.byKey[j.lane]; ln != nil {
		ln.tail.next = j
		ln.tail = j
		return false
	}
	ln := s.free
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
	return true
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

// finish takes the head off ln, which a worker has, and makes ln ready for its
// next job, or free.
func (s *lanes) finish(ln *lane) {
	ln.running = false
	ln.head = ln.head.next
	if ln.head != nil {
		s.ready(ln)
		return
	}
	delete(s.byKey, ln.key)
	*ln = lane{next: s.free}
	s.free = ln
}

// drain empties all lanes of what no worker has, and calls f for each job, in
// order within its lane, with the wait that its lane has left.
func (s *lanes) drain(f func(j *job, wait time.Duration)) {
	s.first, s.last = nil, nil
	for key, ln := range s.byKey {
		ln.next = nil
		wait := time.Duration(0)
		if ln.backoff != nil {
			ln.backoff.Stop()
			wait = max(0, time.Until(ln.due))
		}
		j := ln.head
		if ln.running {
			j, ln.head.next, ln.tail = ln.head.next, nil, ln.head
		} else {
			delete(s.byKey, key)
		}
		for ; j != nil; j = j.next {
			f(j, wait)
		}
	}
}
