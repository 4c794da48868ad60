package ticketing_test

import (
	"errors"
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestAMessageThatNoBrokerCouldStoreIsInvalid(t *testing.T) {
	good := ticketing.Message{ID: "id", DedupeID: "id/dead/g", Subject: "a:b", Header: map[string][]string{"Traceparent": {"00-1", "tab\tis fine"}}}
	if err := good.Validate(); err != nil {
		t.Errorf("a good message: %v", err)
	}
	with := func(f func(m *ticketing.Message)) ticketing.Message {
		m := good
		m.Header = map[string][]string{}
		f(&m)
		return m
	}
	header := func(name, value string) ticketing.Message {
		return with(func(m *ticketing.Message) { m.Header[name] = []string{value} })
	}
	for want, m := range map[string]ticketing.Message{
		"invalid subject":                        with(func(m *ticketing.Message) { m.Subject = "a b" }),
		"it has no id":                           with(func(m *ticketing.Message) { m.ID = "" }),
		"its id has a control":                   with(func(m *ticketing.Message) { m.ID = "a\r\nb" }),
		"its id begins or ends with white space": with(func(m *ticketing.Message) { m.ID = "a " }),
		"its dedupe id has a control":            with(func(m *ticketing.Message) { m.DedupeID = "\x00" }),
		"a header has no name":                   header("", "v"),
		`header name "a b"`:                      header("a b", "v"),
		`header name "a:b"`:                      header("a:b", "v"),
		`header name "é"`:                        header("é", "v"),
		"header nats-msg-id is reserved":         header("nats-msg-id", "v"),
		"header TICKETING-ID is reserved":        header("TICKETING-ID", "v"),
		"the value of header X has a control":    header("X", "v\r\nInjected: 1"),
	} {
		if err := m.Validate(); !errors.Is(err, ticketing.ErrInvalidEvent) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
}
