package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// printable escapes what a terminal would act upon, and what is not text: such
// things come over the network.
func printable(s string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case plain(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && n == 1, r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// clip shortens s, for a column of a table.
func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// moment is t in JSON, or nothing.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// printf prints to the standard output.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// table prints rows in columns. What is in them is made printable.
type table struct {
	w    *tabwriter.Writer
	rows int
	err  error // the first of writing
}

func newTable(w io.Writer, header ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.print(header)
	return t
}

// flushEvery bounds what a table keeps to align its columns.
const flushEvery = 500

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.print(cells)
	if t.rows++; t.rows%flushEvery == 0 {
		_ = t.flush()
	}
}

func (t *table) print(cells []string) {
	_, err := fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	t.fail(err)
}

// flush prints what is left, and returns why something was not printed.
func (t *table) flush() error {
	t.fail(t.w.Flush())
	return t.err
}

func (t *table) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// listing is how things are listed: as a table, or as JSON.
type listing[E any] struct {
	header []string
	row    func(E) []string
	json   func(E) any
	none   string // what is said where there is nothing
}

// print prints what comes, also what came before an error.
func (l listing[E]) print(a *app, all iter.Seq2[E, error]) error {
	var t *table
	for e, err := range all {
		switch {
		case err != nil && t != nil:
			return errors.Join(err, t.flush())
		case err != nil:
			return err
		case a.json:
			if err := a.printJSON(l.json(e)); err != nil {
				return err
			}
			continue
		case t == nil:
			t = newTable(a.out, l.header...)
		}
		if t.row(l.row(e)...); t.err != nil {
			return t.err
		}
	}
	switch {
	case t != nil:
		return t.flush()
	case !a.json:
		fmt.Fprintln(a.errs, l.none)
	}
	return nil
}

// printJSON prints v on one line, without what a terminal would act upon.
func (a *app) printJSON(v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range strings.TrimSuffix(buf.String(), "\n") {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := surrogates(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default: // inside a string: JSON has no such things elsewhere
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	_, err := fmt.Fprintln(a.out, b.String())
	return err
}

func surrogates(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

// discardIf is w, or nothing.
func discardIf(discard bool, w io.Writer) io.Writer {
	if discard {
		return io.Discard
	}
	return w
}

// payload is an event's payload in JSON: as text where it is text.
type payload struct {
	Data   *string `json:"data,omitempty"`
	Base64 []byte  `json:"data_base64,omitempty"`
}

func newPayload(data []byte) payload {
	if !utf8.Valid(data) {
		return payload{Base64: data}
	}
	s := string(data)
	return payload{Data: &s}
}

// isTerminal reports whether somebody looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress tells how far a long work is, where somebody looks.
type progress struct {
	w    io.Writer
	what string
	n    int
	last time.Time
}

func (a *app) progress(what string) *progress {
	p := &progress{what: what}
	if isTerminal(a.errs) {
		p.w = a.errs
	}
	return p
}

func (p *progress) add() {
	p.n++
	if p.w != nil && time.Since(p.last) > 100*time.Millisecond {
		p.last = time.Now()
		fmt.Fprintf(p.w, "\r%s %d", p.what, p.n)
	}
}

// clear takes the line away.
func (p *progress) clear() {
	if p.w != nil && !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
