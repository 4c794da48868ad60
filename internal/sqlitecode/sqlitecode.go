// Package sqlitecode reads SQLite's result codes off the errors of any driver,
// without importing one.
package sqlitecode

import (
	"reflect"
	"strings"
)

// SQLite's result codes. The extended ones have the primary one in their low
// byte.
const (
	Busy         = 5
	BusySnapshot = 517
)

// IsBusy reports whether another transaction was in the way.
func IsBusy(err error) bool { return Of(err)&0xff == Busy }

// Of returns SQLite's result code, the extended one if there is one, or 0 for
// an error without. It looks through the whole chain, also where it forks.
func Of(err error) int {
	if err == nil {
		return 0
	}
	if n := own(err); n != 0 {
		return n
	}
	switch e := err.(type) { //nolint:errorlint // this walks the chain
	case interface{ Unwrap() error }:
		return Of(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if n := Of(err); n != 0 {
				return n
			}
		}
	}
	return 0
}

// own returns the code of a driver's error: of a method, as modernc.org/sqlite
// and ncruces have it, or of a field as mattn's have. A service's errors may
// have a Code that means something else, so only a type Error counts, of a
// package with SQLite in its path.
func own(err error) int {
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return 0
	}
	t := reflect.Indirect(v).Type()
	if t.Name() != "Error" || !strings.Contains(t.PkgPath(), "sqlite") {
		return 0
	}
	// The names are constants, so that the linker still leaves out methods
	// that nobody calls.
	for _, m := range []reflect.Value{v.MethodByName("ExtendedCode"), v.MethodByName("Code")} {
		if m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
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
