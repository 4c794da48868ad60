package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
)

func TestWhatIsPrintedHasNothingATerminalActsUpon(t *testing.T) {
	for s, want := range map[string]string{
		"plain ü 😀 {}": "plain ü 😀 {}", "a\x1b[2Jb": `a\x1b[2Jb`, "a\nb\r\tc": `a\nb\r\tc`, "\x7f\x00": `\x7f\x00`,
		"\u009b2J": `\u{9b}2J`, "\u202eevil": `\u{202e}evil`, "\xffé\xfe": `\xffé\xfe`, "\ufeff": `\u{feff}`, "\U000e0041": `\u{e0041}`, "": "",
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %q, want %q", s, got, want)
		}
		var out bytes.Buffer
		a := &app{out: &out}
		if err := a.printJSON(map[string]string{"s": s}); err != nil {
			t.Fatal(err)
		}
		if line := strings.TrimSuffix(out.String(), "\n"); printable(line) != line {
			t.Errorf("JSON of %q is %q", s, line)
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["s"] != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("JSON of %q is read as %q, %v", s, back["s"], err)
		}
	}
}

func TestAnErrorOfSeveralLinesIsOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"one": "one", "a:\nb\nc": "a: b; c", "a\r\n\nb\n": "a; b", "": "", "a\x1bb": `a\x1bb`,
	} {
		if got := oneLine(s); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestATimeIsAMomentOrADurationBeforeNow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"": {}, "90m": now.Add(-90 * time.Minute), "0s": now, "2026-01-01T00:00:00Z": now.Truncate(24 * time.Hour).Add(-24 * time.Hour),
	} {
		if got, err := parseTime("--since", s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"-1h", "yesterday", "5", strings.Repeat("x", 1000)} {
		if _, err := parseTime("--since", s, now); err == nil || len(err.Error()) > 200 {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestAnInterruptIsStatus130(t *testing.T) {
	t.Setenv("NATS_URL", natsserver.Run(t).URL())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"dead", "list"}, nil, &out, &errs); code != exitInterrupted || !strings.HasPrefix(errs.String(), "ticketing: ") {
		t.Errorf("status %d, %s", code, &errs)
	}
}

func TestTheVersionIsTheModulesAndTheRevisionThatWasBuilt(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "24f45b9"}, {Key: "vcs.modified", Value: "true"}}
	for want, info := range map[string]*debug.BuildInfo{
		"(devel)":                        {},
		"v0.1.0":                         {Main: debug.Module{Version: "v0.1.0"}},
		"(devel), revision 24f45b9":      {Main: debug.Module{Version: "(devel)"}, Settings: revision},
		"v0.1.0+dirty, revision 24f45b9": {Main: debug.Module{Version: "v0.1.0+dirty"}, Settings: revision},
		"unknown":                        nil,
	} {
		if got := version(info, info != nil); got != want {
			t.Errorf("version %q, want %q", got, want)
		}
	}
}

func TestADatabaseThatRefusesIsStatus4(t *testing.T) {
	for code, want := range map[string]int{"28P01": exitDenied, "28000": exitDenied, "42501": exitDenied, "42601": exitFailed} {
		if got := status(fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("status %d of SQLSTATE %s, want %d", got, code, want)
		}
	}
}

func TestProgressIsShownWhereSomebodyLooks(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, what: "replayed"}
	p.add()
	p.add() // too soon to show
	p.clear()
	if got := out.String(); got != "\rreplayed 1\r\x1b[K" || p.n != 2 {
		t.Errorf("printed %q after %d", got, p.n)
	}
	if a := (&app{errs: &out}); a.progress("x").w != nil {
		t.Error("a buffer is no terminal")
	}
}

func TestTheCatalogueHasEverySubject(t *testing.T) {
	all, _ := completeSubjects(nil, nil, "")
	for _, s := range all {
		found := false
		for known := range catalogue {
			found = found || string(known) == s
		}
		if !found {
			t.Errorf("%s cannot be published", s)
		}
	}
	if len(all) != len(catalogue) {
		t.Errorf("%d subjects, %d in the catalogue", len(all), len(catalogue))
	}
}

func TestAnErrorThatIsNothingSpecialIsStatus1(t *testing.T) {
	if got := status(fmt.Errorf("wrapped: %w", errors.New("other"))); got != exitFailed {
		t.Errorf("status %d", got)
	}
	if got := status(usage(context.DeadlineExceeded)); got != exitUsage {
		t.Errorf("status %d of a usage error", got)
	}
}
