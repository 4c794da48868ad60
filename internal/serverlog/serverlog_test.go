package serverlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestLinesArePassedOnWithTheirLevel(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: LevelTrace})))
	l.Tracef("t %d", 1)
	l.Debugf("d %d", 2)
	l.Noticef("n %d", 3)
	l.Warnf("w %d", 4)
	l.Errorf("e %d", 5)
	l.Fatalf("f %d", 6)
	for _, want := range []string{
		`level=DEBUG-4 msg="t 1"`, `level=DEBUG msg="d 2"`, `level=INFO msg="n 3"`,
		`level=WARN msg="w 4"`, `level=ERROR msg="e 5"`, `level=ERROR msg="f 6"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line has %s in:\n%s", want, out.String())
		}
	}
}

func TestTheHandlerDecidesWhatTheServerTells(t *testing.T) {
	for _, tt := range []struct {
		level        slog.Level
		debug, trace bool
	}{
		{slog.LevelInfo, false, false},
		{slog.LevelDebug, true, false},
		{LevelTrace, true, true},
	} {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tt.level})))
		if l.Debug() != tt.debug || l.Trace() != tt.trace {
			t.Errorf("level %v: debug %t, trace %t", tt.level, l.Debug(), l.Trace())
		}
		l.Tracef("x")
		if got := out.Len() > 0; got != tt.trace {
			t.Errorf("level %v: trace line written: %t", tt.level, got)
		}
	}
}

func TestASilentLoggerKeepsTheFirstFatalError(t *testing.T) {
	l := New(nil)
	if l.Debug() || l.Trace() {
		t.Error("a silent logger wants debug lines")
	}
	l.Noticef("nothing")
	if err := l.Err(); err != nil {
		t.Fatalf("error before any: %v", err)
	}
	l.Fatalf("cannot listen on %s: %v", "port", fmt.Errorf("wrapped: %w", os.ErrPermission))
	l.Fatalf("second")
	err := l.Err()
	if err == nil || err.Error() != "cannot listen on port: wrapped: permission denied" {
		t.Errorf("error %v", err)
	}
	if !errors.Is(err, os.ErrPermission) {
		t.Error("the cause is lost")
	}
}

func TestNothingIsWrittenAfterClose(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&out, nil)))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Errorf("late")
	if out.Len() > 0 {
		t.Errorf("written after Close: %s", out.String())
	}
}
