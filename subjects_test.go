package ticketing_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestACatalogueSubjectIsValid(t *testing.T) {
	all := ticketing.Subjects()
	if len(all) != 6 {
		t.Errorf("%d subjects, want 6", len(all))
	}
	for _, s := range all {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
	}
	all[0] = "changed"
	if ticketing.Subjects()[0] == "changed" {
		t.Error("a caller can change the catalogue")
	}
}

func TestAnInvalidSubjectIsQuotedWithTheRuleItBreaks(t *testing.T) {
	for subject, rule := range map[ticketing.Subject]string{
		"":                   "it is empty",
		"$SYS.x":             "reserved by NATS",
		"_INBOX.x":           "reserved by NATS",
		".a":                 "a token between dots is empty",
		"a.":                 "a token between dots is empty",
		"a..b":               "a token between dots is empty",
		"a.*":                "wildcard",
		"a.>":                "wildcard",
		"a b":                "white space",
		"a\r\nb":             "white space",
		"a\x00b":             "control character",
		"a\x7fb":             "control character",
		"a/b":                `'/' is not a letter`,
		"tické":              `'é' is not a letter`,
		"a\xffb":             "is not a letter",
		longSubject(255 + 1): "it has 256 bytes, at most 255 are allowed",
	} {
		err := subject.Validate()
		if !errors.Is(err, ticketing.ErrInvalidSubject) || !strings.Contains(err.Error(), rule) {
			t.Errorf("Validate(%q) = %v, want %q", subject, err, rule)
		}
		if len(subject) < 64 && err != nil && !strings.Contains(err.Error(), `"`) {
			t.Errorf("%v does not quote the subject", err)
		}
		if err != nil && len(err.Error()) > 512 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
	for _, subject := range []ticketing.Subject{"a", "ticket:created", "a.b-c_d:e.9", "a._b", longSubject(255)} {
		if err := subject.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func longSubject(n int) ticketing.Subject { return ticketing.Subject(strings.Repeat("x", n)) }

func FuzzSubjectValidate(f *testing.F) {
	for _, s := range []string{"ticket:created", "", "a..b", "$x", "_x", "a.*", ">", "a\r\n", "\xff", strings.Repeat("a.", 130)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := ticketing.Subject(s).Validate()
		if err != nil {
			if !errors.Is(err, ticketing.ErrInvalidSubject) || !utf8.ValidString(err.Error()) || len(err.Error()) > 1024 {
				t.Errorf("%q: a bad error: %q", s, err)
			}
			return
		}
		// Whatever passes must be safe in a NATS protocol line.
		if s == "" || len(s) > 255 || strings.ContainsAny(s, " \t\r\n*>\x00") || strings.Contains("."+s+".", "..") || s[0] == '$' || s[0] == '_' {
			t.Errorf("%q passed", s)
		}
	})
}
