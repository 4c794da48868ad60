package main

import (
	"fmt"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

const subject ticketing.Subject = "soak:entry"

// lanes is how many keys a publisher has.
const lanes = 4

// Entry is the event: the N-th of a publisher.
type Entry struct {
	Publisher int `json:"publisher"`
	N         int `json:"n"`
}

// Subject returns the one subject.
func (Entry) Subject() ticketing.Subject { return subject }

// Key returns one of the publisher's keys. The entries of a key are in order by
// their N.
func (e Entry) Key() string { return fmt.Sprintf("%d/%d", e.Publisher, e.N%lanes) }

func (e Entry) id() string { return fmt.Sprintf("%d-%d", e.Publisher, e.N) }
