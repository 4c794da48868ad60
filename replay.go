package ticketing

// Headers of an event that was replayed from the dead letters. Package
// deadletter sets them.
const (
	// HeaderReplayGroup is whose dead letter it was. A [Listener] of another
	// group acknowledges the event without handling it: it has had it.
	HeaderReplayGroup = "Ticketing-Replay-Group"
	// HeaderReplayOf is the dead letter's sequence.
	HeaderReplayOf = "Ticketing-Replay-Of"
)

// replayedToAnother reports whether in is a replay for another group.
func replayedToAnother(in *Inbound, group string) bool {
	to := in.Header[HeaderReplayGroup]
	return len(to) > 0 && to[0] != group
}

// deadDedupeID is what the broker tells the dead letter of an event by, which
// has the given id and header. An event that was replayed may fail again
// before the broker has forgotten its last dead letter, and would be lost if
// that one's id were used again.
func deadDedupeID(id string, header map[string][]string, group string) string {
	if of := header[HeaderReplayOf]; len(of) > 0 {
		id += "/replay/" + of[0]
	}
	return id + "/dead/" + group
}
