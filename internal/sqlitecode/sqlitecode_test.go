package sqlitecode

import (
	"errors"
	"fmt"
	"testing"
)

// The drivers' errors are all called Error; each tells its code in a way of
// its own.

type text struct{}

func (text) Error() string { return "sqlite" }

type coded struct {
	text
	code int
}

func (c coded) Code() int { return c.code }

type extended struct{ coded }

func (e extended) Code() uint8          { return uint8(e.code) }
func (e extended) ExtendedCode() uint16 { return uint16(e.code) }

func modernc(code int) error {
	type Error struct{ coded }
	return &Error{coded{code: code}}
}

func ncruces(code int) error {
	type Error struct{ extended }
	return &Error{extended{coded{code: code}}}
}

func mattn(code int) error {
	type Error struct {
		text
		Code, ExtendedCode int
	}
	return Error{Code: code & 0xff, ExtendedCode: code}
}

func TestTheCodeIsFoundWhateverTheDriver(t *testing.T) {
	other := errors.New("another error")
	for name, err := range map[string]error{
		"modernc": modernc(517),
		"ncruces": ncruces(517),
		"mattn":   mattn(517),
		"wrapped": fmt.Errorf("update: %w", modernc(517)),
		"joined":  errors.Join(other, fmt.Errorf("%w and %w", other, mattn(517))),
	} {
		if got := Of(err); got != BusySnapshot || !IsBusy(err) {
			t.Errorf("%s: the code is %d, want 517", name, got)
		}
	}
	if IsBusy(modernc(1)) {
		t.Error("SQLITE_ERROR counts as busy")
	}
}

func TestACodeOfAnotherErrorMeansNothing(t *testing.T) {
	type Error struct{ *coded } // of a service, or of HTTP
	var none *Error
	other := errors.New("another error")
	for _, err := range []error{
		nil, other, fmt.Errorf("x: %w", other),
		coded{code: 5},         // is not called Error
		fmt.Errorf("%w", none), // nothing to ask
	} {
		if got := Of(err); got != 0 {
			t.Errorf("%T has the code %d", err, got)
		}
	}
}
