package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
)

// answer is what a user was told.
type answer struct {
	transactions.Deposit
	err error
}

func (a answer) String() string {
	if a.err != nil {
		return "no"
	}
	return "yes"
}

// outcome is how the story ended in one way.
type outcome struct {
	way     string
	told    []answer
	booked  map[string]int64 // what the transaction service has, by the deposit's id
	balance int64            // what the accounts service has
}

// should is what the balance should be: what is booked.
func (o outcome) should() (sum int64) {
	for _, amount := range o.booked {
		sum += amount
	}
	return sum
}

// kept reports whether every deposit was taken, is booked, and was credited
// once. The amounts are such that the sum tells.
func (o outcome) kept() bool {
	for _, a := range o.told {
		if _, booked := o.booked[a.ID]; a.err != nil || !booked {
			return false
		}
	}
	return o.balance == o.should()
}

// verdict says what is wrong.
func (o outcome) verdict() string {
	var refused int64 // booked all the same
	for _, a := range o.told {
		if amount, booked := o.booked[a.ID]; a.err != nil && booked {
			refused += amount
		}
	}
	switch missing := o.should() - o.balance; {
	case o.kept():
		return "every deposit, once"
	case refused > 0:
		return fmt.Sprintf("%d refused, but booked", refused)
	case missing > 0:
		return fmt.Sprintf("%d lost", missing)
	case missing < 0:
		return fmt.Sprintf("%d too much", -missing)
	default:
		return "not all booked"
	}
}

// printTable prints how the story ended in each way.
func printTable(w io.Writer, outcomes []outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "way\tthe user was told\tbalance\tshould be\tresult")
	for _, o := range outcomes {
		var told []string
		for _, a := range o.told {
			told = append(told, fmt.Sprintf("%d %s", a.Amount, a))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", o.way, strings.Join(told, ", "), o.balance, o.should(), o.verdict())
	}
	return t.Flush()
}
