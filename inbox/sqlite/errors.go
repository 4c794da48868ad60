package sqlite

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/ducnguyen96/ticketing-common/inbox"
)

// SQLite's result codes. The extended ones have the primary one in their low
// byte.
const (
	codeBusy         = 5
	codeBusySnapshot = 517
)

// code returns SQLite's result code, whatever the driver, and 0 for an error
// without one. It looks through the whole chain, also where it forks.
func code(err error) int {
	if err == nil {
		return 0
	}
	if n := own(err); n != 0 {
		return n
	}
	switch e := err.(type) { //nolint:errorlint // this walks the chain
	case interface{ Unwrap() error }:
		return code(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if n := code(err); n != 0 {
				return n
			}
		}
	}
	return 0
}

// own returns the code of a driver's error: of a method, or of a field as
// mattn's have it. A handler's errors may have a Code that means something
// else, so only packages with SQLite in their path count.
func own(err error) int {
	v := reflect.ValueOf(err)
	if !strings.Contains(reflect.Indirect(v).Type().PkgPath(), "sqlite") {
		return 0
	}
	for _, name := range []string{"ExtendedCode", "Code"} {
		if m := v.MethodByName(name); m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
			return integer(m.Call(nil)[0])
		}
	}
	if v = reflect.Indirect(v); v.Kind() == reflect.Struct {
		return integer(v.FieldByName("ExtendedCode"))
	}
	return 0
}

func integer(v reflect.Value) int {
	switch {
	case !v.IsValid():
		return 0
	case v.CanInt():
		return int(v.Int())
	case v.CanUint():
		return int(v.Uint())
	}
	return 0
}

func busy(err error) bool { return code(err)&0xff == codeBusy }

// explain says what to do about a statement of the store's that failed.
func explain(err error, table string) error {
	switch text := err.Error(); {
	case code(err) == codeBusySnapshot:
		return fmt.Errorf("another has written since the transaction read: call Once before it reads, or begin it IMMEDIATE (_txlock=immediate): %w", err)
	case strings.Contains(text, "no such table") && strings.Contains(text, table),
		strings.Contains(text, "has no column named"), strings.Contains(text, "no such column"):
		return fmt.Errorf("%w: %w", inbox.ErrNotMigrated, err)
	}
	return err
}
