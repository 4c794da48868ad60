package natstest

import (
	"fmt"

	"github.com/ducnguyen96/ticketing-common"
)

// refuse reports why no broker would take m, or nil.
func (r *Recorder) refuse(m *ticketing.Message) error {
	if err := m.Subject.Validate(); err != nil {
		return err
	}
	if r.MaxPayload > 0 && len(m.Data) > r.MaxPayload {
		return fmt.Errorf("%w: the payload has %d bytes, the recorder's MaxPayload is %d",
			ticketing.ErrTooLarge, len(m.Data), r.MaxPayload)
	}
	for name, values := range m.Header {
		if !validHeaderName(name) {
			return fmt.Errorf("header name %q: it has to be printable ASCII without a space or colon", name)
		}
		for _, v := range values {
			if !validHeaderValue(v) {
				return fmt.Errorf("header %s: its value has a control character", name)
			}
		}
	}
	return nil
}

func validHeaderName(name string) bool {
	for _, b := range []byte(name) {
		if b <= ' ' || b == ':' || b >= 0x7f {
			return false
		}
	}
	return name != ""
}

// validHeaderValue allows the tab, as HTTP does: it does not end the line.
func validHeaderValue(v string) bool {
	for _, b := range []byte(v) {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
