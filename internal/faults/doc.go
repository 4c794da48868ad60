// Package faults has tests of what a service lives through: servers that are
// absent, late, or of another kind, networks that fail, processes that are
// killed, input that means harm. They use the public API as a service does, on
// both brokers.
//
// A test's comment says what protects the behaviour: with that taken out, the
// test fails.
package faults
