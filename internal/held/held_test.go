package held_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ducnguyen96/ticketing-common/internal/held"
)

func TestASecondAddOfASequenceIsRefusedUntilItIsTaken(t *testing.T) {
	var table held.Table[uint64, string]
	first, second := "first", "second"
	if !table.Add(1, &first) || table.Add(1, &second) {
		t.Fatal("want the first Add accepted and the second refused")
	}
	if got := table.Take(1); got != &first {
		t.Fatalf("Take = %v, want the first", got)
	}
	if table.Take(1) != nil || table.Len() != 0 {
		t.Fatal("a taken sequence is still held")
	}
	if !table.Add(1, &second) {
		t.Fatal("a free sequence was refused")
	}
}

func TestUpdateAndEachReachWhatIsHeld(t *testing.T) {
	var table held.Table[uint64, int]
	one, two := 1, 2
	table.Add(1, &one)
	table.Add(2, &two)
	if !table.Update(1, func(v *int) { *v = 10 }) || table.Update(3, func(*int) { t.Error("called for what is not held") }) {
		t.Fatal("Update reports wrongly whether something is held")
	}
	sum := 0
	table.Each(func(_ uint64, v *int) { sum += *v })
	if sum != 12 {
		t.Fatalf("sum = %d, want 12", sum)
	}
	if all := table.TakeAll(); len(all) != 2 || table.Len() != 0 {
		t.Fatalf("TakeAll took %d and left %d", len(all), table.Len())
	}
}

func TestWaitEmptyEndsWithTheLastTakeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table held.Table[uint64, int]
		v := 1
		table.Add(1, &v)
		table.Add(2, &v)
		done := make(chan error, 1)
		go func() { done <- table.WaitEmpty(context.Background()) }()
		table.Take(1)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("WaitEmpty returned while one is held")
		default:
		}
		table.Take(2)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		table.Add(3, &v)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := table.WaitEmpty(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("WaitEmpty = %v, want the context's error", err)
		}
	})
}
