package natstest

import (
	"fmt"

	"github.com/ducnguyen96/ticketing-common"
)

// refuse reports why no broker would take m, or nil.
func (r *Recorder) refuse(m *ticketing.Message) error {
	if r.MaxPayload > 0 && len(m.Data) > r.MaxPayload {
		return fmt.Errorf("%w: %w: the payload has %d bytes, the recorder's MaxPayload is %d",
			ticketing.ErrInvalidEvent, ticketing.ErrTooLarge, len(m.Data), r.MaxPayload)
	}
	return m.Validate()
}
