package storetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

var transactionTests = []test{
	{name: "ACommittedEventIsPending", run: func(s *suite) {
		tx := s.begin()
		s.write(tx, message("a", "k"), message("b", ""))
		s.wantPending("")
		s.commit(tx)
		s.wantPending("a b")
	}},
	// Without the return before the commit in InTx the second stays; without the
	// transaction in the store's Tx both do.
	{name: "ARolledBackEventIsNot", run: func(s *suite) {
		tx := s.begin()
		s.write(tx, message("a", "k"))
		if err := tx.Rollback(); err != nil {
			s.Fatal(err)
		}
		s.wantPending("")
		want := errors.New("the service's own")
		err := s.InTx(s.Context(), func(tx ticketing.Sender) error {
			if err := send(s.Context(), tx, message("b", "k")); err != nil {
				return err
			}
			return want
		})
		if !errors.Is(err, want) {
			s.Errorf("InTx returned %v, want the error of its function", err)
		}
		s.wantPending("")
	}},
	{name: "APanicRollsBack", run: func(s *suite) {
		func() {
			defer func() {
				if recover() == nil {
					s.Error("the panic was swallowed")
				}
			}()
			_ = s.InTx(s.Context(), func(tx ticketing.Sender) error {
				if err := send(s.Context(), tx, message("a", "k")); err != nil {
					return err
				}
				panic("the service's own")
			})
		}()
		s.wantPending("")
		s.add(message("b", "k")) // nothing is left locked
		s.wantPending("b")
	}},
	{name: "InTxWakesItsStoreAfterTheCommit", run: func(s *suite) {
		woken := 0
		cancel := s.Store.Subscribe(func() { woken++ })
		s.add(message("a", "k"))
		if woken != 1 {
			s.Errorf("woken %d times after a commit, want once", woken)
		}
		_ = s.InTx(s.Context(), func(ticketing.Sender) error { return errors.New("no") })
		if woken != 1 {
			s.Error("woken after a rollback")
		}
		cancel()
		s.add(message("b", "k"))
		if woken != 1 {
			s.Error("woken after cancel")
		}
	}},
	{name: "ARetryWithTheSameIDIsOneRow", run: func(s *suite) {
		m := message("a", "k")
		m.Header = map[string][]string{"B": {"2"}, "A": {"1", "3"}}
		s.add(m)
		again := *m
		again.Time = m.Time.Add(time.Second)
		again.Header = map[string][]string{"Traceparent": {"another"}} // whoever wrapped the sender
		s.add(&again)
		tx := s.begin()
		s.write(tx, message("b", "k"), message("b", "k"))
		s.commit(tx)
		s.wantPending("a b")
	}},
	{name: "AnotherEventWithTheSameIDIsRefused", run: func(s *suite) {
		s.add(message("a", "k"))
		for name, change := range map[string]func(m *ticketing.Message){
			"key":       func(m *ticketing.Message) { m.Key = "other" },
			"subject":   func(m *ticketing.Message) { m.Subject = "other:subject" },
			"data":      func(m *ticketing.Message) { m.Data = []byte("{}") },
			"dedupe id": func(m *ticketing.Message) { m.DedupeID = "other" },
		} {
			m := message("a", "k")
			change(m)
			err := s.InTx(s.Context(), func(tx ticketing.Sender) error { return send(s.Context(), tx, m) })
			if !errors.Is(err, outbox.ErrIDTaken) || !errors.Is(err, ticketing.ErrInvalidEvent) || !errors.Is(err, ticketing.ErrRejected) {
				s.Errorf("another %s: %v, want ErrIDTaken, rejected", name, err)
			}
		}
		s.wantPending("a")
	}},
	{name: "EverythingComesOutAsItWentIn", run: testBytes},
	{name: "WhatNoBrokerCouldStoreIsRejected", run: func(s *suite) {
		for name, m := range map[string]*ticketing.Message{
			"subject":        {ID: "a", Subject: "no subject"},
			"no id":          {Subject: subject},
			"header":         {ID: "a", Subject: subject, Header: map[string][]string{"A": {"\n"}}},
			"too large":      {ID: "a", Subject: subject, Data: make([]byte, 1<<20+1)},
			"NUL in the key": {ID: "a", Subject: subject, Key: "\x00"},
			"id not UTF-8":   {ID: "\xff", Subject: subject},
			"id too long":    {ID: strings.Repeat("a", outbox.MaxIDLen+1), Subject: subject},
			"key too long":   {ID: "a", Subject: subject, Key: strings.Repeat("k", outbox.MaxKeyLen+1)},
		} {
			err := s.InTx(s.Context(), func(tx ticketing.Sender) error { return send(s.Context(), tx, m) })
			if !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) {
				s.Errorf("%s: %v, want rejected, the event's own fault", name, err)
			}
		}
		err := s.InTx(s.Context(), func(tx ticketing.Sender) error {
			return send(s.Context(), tx, &ticketing.Message{ID: "a", Subject: subject, Data: make([]byte, 1<<20)})
		})
		if err != nil {
			s.Errorf("a payload of 1 MiB: %v", err)
		}
	}},
	{name: "TheLongestIDsAndKeysCanBeInEveryState", run: func(s *suite) {
		var id, key string // of which an index cannot make less
		for r := rune(0x4e00); len(key) < outbox.MaxKeyLen-1; r += 7 {
			key += string(r)
			if len(key) <= outbox.MaxIDLen-2 {
				id = key
			}
		}
		s.add(message(id+"1", key), message(id+"2", key), message(id+"3", key))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref(), rows[1].Ref())
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[2].Ref()}, Keep: true})
		if st := s.stats(); st.Parked != 1 || st.Waiting != 1 || st.Pending != 0 {
			s.Errorf("%+v", st)
		}
	}},
	{name: "ARejectedEventLeavesTheTransactionAsItWas", run: func(s *suite) {
		s.add(message("a", "k"))
		tx := s.begin()
		s.write(tx, message("b", "k"))
		if err := send(s.Context(), tx.Sender(), &ticketing.Message{ID: "a", Subject: subject}); err == nil {
			s.Error("no error")
		}
		s.write(tx, message("c", "k"))
		s.commit(tx)
		s.wantPending("a b c")
	}},
	{name: "AnEndedContextIsNotSent", run: func(s *suite) {
		tx := s.begin()
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		if err := send(ctx, tx.Sender(), message("a", "k")); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, context.Canceled) || errors.Is(err, ticketing.ErrTransaction) {
			s.Errorf("%v, want not sent, because the context is cancelled", err)
		}
	}},
	{name: "AnEndedTransactionIsNotSent", run: func(s *suite) {
		tx := s.begin()
		s.commit(tx)
		err := send(s.Context(), tx.Sender(), message("a", "k"))
		if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrTransaction) {
			s.Errorf("%v, want not sent, because of the transaction", err)
		}
	}},
	{name: "TheSenderSaysWhatItCan", run: func(s *suite) {
		tx := s.begin()
		if c, ok := tx.Sender().(ticketing.CapabilityReporter); !ok || !c.Capabilities().Headers {
			s.Error("the sender does not declare that it keeps headers")
		}
		c, ok := tx.Sender().(ticketing.SubjectChecker)
		if !ok {
			s.Fatal("the sender cannot check a subject")
		}
		if err := c.CheckSubject(s.Context(), subject); err != nil {
			s.Error(err)
		}
		if err := c.CheckSubject(s.Context(), "no subject"); !errors.Is(err, ticketing.ErrNoStream) {
			s.Errorf("an invalid subject: %v, want ErrNoStream", err)
		}
	}},
}

// Without bytea in PostgreSQL's schema, or with SQLite's json in the insert, they
// are refused.
func testBytes(s *suite) {
	payloads := map[string][]byte{
		"nul":       []byte("a\x00b\x00"),
		"utf8":      {0xff, 0xfe, 0x80, 0xc3, 0x28},
		"number":    []byte(`{"n":123456789012345678901234567890.12345678901234567890e400}`),
		"bare":      []byte("0012345678901234567890.10"),
		"duplicate": []byte(`{"a":1,"a":2}`),
		"spaces":    []byte(" {\n\t} \r\n"),
		"empty":     {},
		"nil":       nil,
		"backslash": []byte(`\\000\x41'"`),
		"all":       allBytes(),
		"large":     bytes.Repeat([]byte("0123456789abcdef"), 1<<12),
	}
	when := time.Date(2031, 2, 3, 4, 5, 6, 789_123_000, time.UTC)
	want := make(map[string]*ticketing.Message)
	for name, data := range payloads {
		m := &ticketing.Message{
			ID: name, DedupeID: "dedupe/" + name, Key: "kéy '\"\\ " + name, Subject: "some.Subject:" + ticketing.Subject(name),
			Time: when, Data: data,
			Header: map[string][]string{"Traceparent": {"00-1-2-3", "second"}, "X": {"", "a:b", " \xff\x80\té "}},
		}
		want[name] = m
		s.add(m)
	}
	b := s.broker()
	check := func(m *ticketing.Message) {
		w := want[m.ID]
		if w == nil {
			s.Errorf("an event %q that nobody sent", m.ID)
			return
		}
		if !bytes.Equal(m.Data, w.Data) || m.DedupeID != w.DedupeID || m.Key != w.Key || m.Subject != w.Subject || !m.Time.Equal(w.Time) {
			s.Errorf("%s came out as\n%+v, want\n%+v", m.ID, m, w)
		}
		if !maps.EqualFunc(m.Header, w.Header, slices.Equal) {
			s.Errorf("%s: header %q, want %q", m.ID, m.Header, w.Header)
		}
	}
	rows := s.all()
	for _, r := range rows {
		check(&r.Message)
	}
	if len(rows) != len(want) {
		s.Errorf("%d rows, want %d", len(rows), len(want))
	}
	s.relay(s.Store, b, nil)
	s.eventually("all are published", func() bool { return b.count() == len(want) })
	for _, m := range b.messages() {
		check(m)
	}
	if !strings.Contains(strings.Join(b.ids(), " "), "nul") {
		s.Error("ids are gone")
	}
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
