package sqlite

import (
	"errors"
	"reflect"
)

// SQLite's result codes. The extended ones have the primary one in their low
// byte.
const (
	codeBusy         = 5
	codeBusySnapshot = 517
)

// code returns SQLite's result code, whatever the driver: the errors of
// modernc.org/sqlite and of ncruces have a method for it, those of mattn a
// field.
func code(err error) int {
	var byMethod interface{ Code() int }
	if errors.As(err, &byMethod) {
		return byMethod.Code()
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if m := reflect.ValueOf(err).MethodByName("ExtendedCode"); m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
			if n, ok := integer(m.Call(nil)[0]); ok {
				return n
			}
		}
		if v.Kind() == reflect.Struct {
			if n, ok := integer(v.FieldByName("ExtendedCode")); ok {
				return n
			}
		}
	}
	return 0
}

func integer(v reflect.Value) (int, bool) {
	switch {
	case !v.IsValid():
		return 0, false
	case v.CanInt():
		return int(v.Int()), true
	case v.CanUint():
		return int(v.Uint()), true
	}
	return 0, false
}

func busy(err error) bool { return err != nil && code(err)&0xff == codeBusy }
