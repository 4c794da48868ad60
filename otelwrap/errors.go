package otelwrap

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Attributes of this module, where the conventions have none.
const (
	keyAttempt  = attribute.Key("ticketing.attempt")
	keyAttempts = attribute.Key("ticketing.attempts")
	keyOutcome  = attribute.Key("ticketing.outcome")
	keyReason   = attribute.Key("ticketing.reason")
)

// reasons are the errors that error.type has a name for, the narrower first.
var reasons = []struct {
	err  error
	name string
}{
	{ticketing.ErrTooLarge, "too_large"},
	{ticketing.ErrInvalidEvent, "invalid_event"},
	{ticketing.ErrNoStream, "no_stream"},
	{ticketing.ErrPermission, "permission_denied"},
	{ticketing.ErrNotConnected, "not_connected"},
	{ticketing.ErrClosed, "closed"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{ticketing.ErrNotSent, "not_sent"},
	{ticketing.ErrRejected, "rejected"},
	{ticketing.ErrBusy, "busy"},
	{ticketing.ErrUnknown, "unknown"},
}

func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return ""
}

// publishError is error.type of a publish. An error that does not say what is
// known counts as unknown, as everywhere.
func publishError(err error) string {
	if name := reason(err); name != "" {
		return name
	}
	return "unknown"
}

// outcome is what is known of a publish that failed.
func outcome(err error) string {
	var pe *ticketing.PublishError
	if !errors.As(err, &pe) {
		return "unknown"
	}
	return strings.ReplaceAll(pe.Outcome.String(), " ", "_")
}

// handlerError is error.type of an attempt.
func handlerError(err error) string {
	if name := reason(err); name != "" {
		return name
	}
	return semconv.ErrorType(err).Value.AsString()
}

func settleError(err error) string {
	if errors.Is(err, ticketing.ErrSettled) {
		return "settled"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

// fail marks a span as failed.
func fail(span trace.Span, errorType, text string, attrs ...attribute.KeyValue) {
	if span.IsRecording() {
		span.SetAttributes(append(attrs, semconv.ErrorTypeKey.String(errorType))...)
		span.SetStatus(codes.Error, text)
	}
}

// maxText bounds the text of an error in a span, in bytes.
const maxText = 1 << 10

func textOf(err error) string {
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}
