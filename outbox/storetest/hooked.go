package storetest

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

// hooked is a store in which a test can do something at a call, and that
// counts the calls. A hook's error is the call's.
type hooked struct {
	outbox.Store
	onAcquire func() error
	onRenew   func(ctx context.Context) error
	onRelease func() // the lease was given back
	onPending func(q outbox.Query) error
	onSettle  func(ctx context.Context, st outbox.Settlement) error
	after     func(st outbox.Settlement) error // the settlement was noted down
	calls     atomic.Int64
	lease     atomic.Pointer[outbox.Lease] // the last that was acquired
}

func (h *hooked) Acquire(ctx context.Context, holder string, d time.Duration) (outbox.Lease, bool, error) {
	h.calls.Add(1)
	if h.onAcquire != nil {
		if err := h.onAcquire(); err != nil {
			return outbox.Lease{}, false, err
		}
	}
	l, ok, err := h.Store.Acquire(ctx, holder, d)
	if ok && err == nil {
		h.lease.Store(&l)
	}
	return l, ok, err
}

func (h *hooked) Renew(ctx context.Context, l outbox.Lease, d time.Duration) error {
	h.calls.Add(1)
	if h.onRenew != nil {
		if err := h.onRenew(ctx); err != nil {
			return err
		}
	}
	return h.Store.Renew(ctx, l, d)
}

func (h *hooked) Release(ctx context.Context, l outbox.Lease) error {
	h.calls.Add(1)
	err := h.Store.Release(ctx, l)
	if h.onRelease != nil {
		h.onRelease()
	}
	return err
}

func (h *hooked) Horizon(ctx context.Context) (outbox.Horizon, error) {
	h.calls.Add(1)
	return h.Store.Horizon(ctx)
}

func (h *hooked) Pending(ctx context.Context, q outbox.Query) iter.Seq2[outbox.Row, error] {
	h.calls.Add(1)
	if h.onPending != nil {
		if err := h.onPending(q); err != nil {
			return func(yield func(outbox.Row, error) bool) { yield(outbox.Row{}, err) }
		}
	}
	return h.Store.Pending(ctx, q)
}

func (h *hooked) Settle(ctx context.Context, l outbox.Lease, st outbox.Settlement) error {
	h.calls.Add(1)
	if h.onSettle != nil {
		if err := h.onSettle(ctx, st); err != nil {
			return err
		}
	}
	err := h.Store.Settle(ctx, l, st)
	if err == nil && h.after != nil {
		err = h.after(st)
	}
	return err
}

func (h *hooked) Purge(ctx context.Context, l outbox.Lease, age time.Duration, limit int) (int, error) {
	h.calls.Add(1)
	return h.Store.Purge(ctx, l, age, limit)
}
