package sqlite

import (
	"errors"
	"fmt"
	"testing"
)

type modernc struct{ code int }

func (e *modernc) Error() string { return "sqlite" }
func (e *modernc) Code() int     { return e.code }

type ncruces struct{ code uint16 }

func (e *ncruces) Error() string        { return "sqlite3" }
func (e *ncruces) Code() uint8          { return uint8(e.code) }
func (e *ncruces) ExtendedCode() uint16 { return e.code }

type mattn struct{ Code, ExtendedCode int }

func (e mattn) Error() string { return "sqlite3" }

func TestCodeKnowsTheErrorsOfTheDrivers(t *testing.T) {
	other := errors.New("another error")
	for name, err := range map[string]error{
		"modernc": &modernc{517},
		"ncruces": &ncruces{517},
		"mattn":   mattn{5, 517},
		"wrapped": fmt.Errorf("update: %w", &modernc{517}),
		"joined":  errors.Join(other, fmt.Errorf("%w and %w", other, mattn{5, 517})),
	} {
		if got := code(err); got != 517 || !busy(err) {
			t.Errorf("%s: the code is %d, want 517", name, got)
		}
	}
	for _, err := range []error{nil, other, fmt.Errorf("x: %w", other), &modernc{1}} {
		if busy(err) {
			t.Errorf("%v counts as busy", err)
		}
	}
}
