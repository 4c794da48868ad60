package jswrap

import "strings"

// delivery is what the server tells of a message in its reply subject.
type delivery struct {
	delivered uint64 // how often, from 1
	sequence  uint64 // in the stream
	time      int64  // when it was stored, in ns since 1970
	pending   uint64 // how many more the consumer has to deliver
}

const ackReplyPrefix = "$JS.ACK."

// parseAckReply takes a message's reply subject apart:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>
//
// Newer servers put a domain and an account hash before the stream, and may
// add a token at the end, so there are 9, or 11 and more. Anything else is no
// message of a consumer.
func parseAckReply(reply string) (d delivery, ok bool) {
	rest, ok := strings.CutPrefix(reply, ackReplyPrefix)
	if !ok {
		return d, false
	}
	tokens := strings.Count(reply, ".") + 1
	skip := 2 // stream, consumer
	switch {
	case tokens == 9:
	case tokens >= 11:
		skip += 2
	default:
		return d, false
	}
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var fields [5]uint64
	for i := range fields {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		if fields[i], ok = parseDigits(token); !ok {
			return delivery{}, false
		}
	}
	d = delivery{delivered: fields[0], sequence: fields[1], time: int64(fields[3]), pending: fields[4]}
	return d, d.sequence > 0
}

// parseDigits is strconv.ParseUint without an error to allocate.
func parseDigits(s string) (n uint64, ok bool) {
	if s == "" || len(s) > 19 { // fits an int64, too
		return 0, false
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}
