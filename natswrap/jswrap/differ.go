package jswrap

import (
	"fmt"
	"log/slog"
	"strings"
)

// difference is a setting that is not as it should be.
type difference struct {
	field      string
	have, want any
}

func (d difference) String() string { return fmt.Sprintf("%s is %v, not %v", d.field, d.have, d.want) }

// differences collects settings that differ.
type differences []difference

func differ[T comparable](d *differences, field string, have, want T) {
	if have != want {
		*d = append(*d, difference{field, have, want})
	}
}

// String lists them, for an error.
func (d differences) String() string {
	parts := make([]string, len(d))
	for i, x := range d {
		parts[i] = x.String()
	}
	return strings.Join(parts, ", ")
}

// log writes one line per field.
func (d differences) log(log *slog.Logger, msg string) {
	for _, x := range d {
		log.Warn(msg, "field", x.field, "has", fmt.Sprint(x.have), "wanted", fmt.Sprint(x.want))
	}
}
