package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// The README shows what is printed, but for times, ports and versions.
func TestTheReadmeShowsWhatIsPrinted(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```console\n")
	shown, _, ok := strings.Cut(shown, "```\n")
	if !ok {
		t.Fatal("the README has no console block")
	}
	url := natsserver.Run(t).URL()
	t.Setenv("NATS_URL", url)
	t.Setenv("NATS_CLIENT_ID", "orders-0")
	twoDeadLetters(t, url)

	var printed strings.Builder
	for line := range strings.Lines(shown) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ticketing ")
		if !ok {
			continue
		}
		printed.WriteString(line)
		var out, errs bytes.Buffer
		if code := run(t.Context(), words(command), nil, &out, &errs); code != 0 {
			t.Fatalf("%s: exit status %d, %s", command, code, &errs)
		}
		printed.Write(out.Bytes())
	}
	if got, want := settled(printed.String()), settled(shown); got != want {
		t.Errorf("the README shows\n%s\nand this is printed:\n%s", want, got)
		t.Logf("as it is:\n%s", &printed)
	}
}

// words splits a command that has single quotes.
func words(command string) []string {
	var all []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

// settled replaces what differs from run to run.
func settled(s string) string {
	for pattern, fixed := range map[string]string{
		`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`: "TIME",
		`127\.0\.0\.1:\d+`:                "HOST",
		`nats-server [\d.]+`:              "VERSION",
		`connected in \S+`:                "SOON",
	} {
		s = regexp.MustCompile(pattern).ReplaceAllString(s, fixed)
	}
	return s
}

// twoDeadLetters makes one of a handler that refuses, and one that cannot be
// decoded.
func twoDeadLetters(t *testing.T, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := natswrap.Connect(ctx, natswrap.Config{URLs: []string{url}, ClientID: "orders-0", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	died := make(chan struct{}, 2)
	listening, stop := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		result <- ticketing.NewListener(c, "orders-srv", func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
			return ticketing.Permanent(errors.New("no such user: 5f1c"))
		}, &ticketing.ListenerOptions{Logger: quiet, OnDeadLetter: func(ticketing.DeadLetter) { died <- struct{}{} }}).Listen(listening)
	}()
	send := func(id, data string) {
		sent := make(chan error, 1)
		c.Send(ctx, &ticketing.Message{ID: id, Subject: ticketing.SubjectTicketCreated, Time: time.Now(), Data: []byte(data)}, func(err error) { sent <- err })
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		select {
		case <-died:
		case <-ctx.Done():
			t.Fatal("the event has not become a dead letter")
		}
	}
	send("0198c7a0-7d3c-7c55-8a39-4a2f1d9b7f10", `{"id":"T-1","title":"Concert","price":20,"userId":"5f1c","version":0}`)
	send("0198c7a0-7d3d-7b1e-9c03-0c6f5a7d2e44", "\x1b[2J")
	stop()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}
