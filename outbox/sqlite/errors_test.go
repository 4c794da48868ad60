package sqlite

import (
	"errors"
	"fmt"
	"testing"
)

type byMethod struct{}

func (byMethod) Error() string { return "" }
func (byMethod) Code() int     { return 517 }

type byExtended struct{}

func (byExtended) Error() string        { return "" }
func (byExtended) ExtendedCode() uint16 { return 517 }

type byField struct{ Code, ExtendedCode int }

func (byField) Error() string { return "" }

func TestTheResultCodeIsFoundWhateverTheDriver(t *testing.T) {
	for _, err := range []error{byMethod{}, byExtended{}, byField{5, 517}, &byField{5, 517}} {
		if got := code(fmt.Errorf("wrapped: %w", err)); got != codeBusySnapshot {
			t.Errorf("%T: %d, want 517", err, got)
		}
	}
	if got := code(errors.New("none")); got != 0 {
		t.Errorf("%d, want 0", got)
	}
}
