package natsserver

import (
	"bytes"
	"runtime"
	"time"
)

// settlePatience bounds how long a stop waits for files. A write takes a
// millisecond, and other servers of the process may always be writing some.
const settlePatience = 250 * time.Millisecond

// settle waits for consumers' files that are being written. The server's own
// shutdown does not, so that a directory could not be removed, or a restart
// could find a position that is too old.
func settle() {
	buf := make([]byte, 1<<20)
	deadline := time.Now().Add(settlePatience)
	for writing(buf[:runtime.Stack(buf, true)]) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // between two looks, until the deadline
	}
}

// writing reports whether one of the goroutines writes a consumer's file: one
// that only waits to do so is in a select, which the shutdown ends.
func writing(stacks []byte) bool {
	for g := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		state, _, _ := bytes.Cut(g, []byte("\n"))
		if bytes.Contains(g, []byte("(*consumerFileStore).flushLoop(")) && !bytes.Contains(state, []byte("[select")) {
			return true
		}
	}
	return false
}
