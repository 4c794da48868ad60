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
