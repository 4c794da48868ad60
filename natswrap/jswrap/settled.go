package jswrap

// settled remembers the messages that this process settled last, to know them
// when they come again: their acknowledgement was lost, or the consumer was
// made again and starts below them. To remember one is a write to an array; it
// is searched only for what may be a repetition.
//
// A message is known by its time, too: a stream that was deleted and made
// again begins with sequence 1.
type settled struct {
	list []settledMessage
	next int // the oldest, once the list is full
}

type settledMessage struct {
	sequence uint64
	time     int64
}

// maxSettled is twice the largest window. The list grows to that as messages
// are settled, and takes 128 KiB then.
const maxSettled = 8192

func (s *settled) add(sequence uint64, time int64) {
	m := settledMessage{sequence, time}
	if len(s.list) < maxSettled {
		s.list = append(s.list, m)
		return
	}
	s.list[s.next] = m
	s.next = (s.next + 1) % maxSettled
}

func (s *settled) has(sequence uint64, time int64) bool {
	for _, m := range s.list {
		if m.sequence == sequence && m.time == time {
			return true
		}
	}
	return false
}
