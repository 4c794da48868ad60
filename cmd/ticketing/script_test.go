package main

import "testing"

func TestDeadLettersAreListedShownReplayedAndDiscarded(t *testing.T) { onBoth(t, "dead") }

func TestDoctorFindsWhatIsWrongOnJetStream(t *testing.T) { onJetStream(t, "doctor_jetstream") }

func TestDoctorLooksAtNATSStreaming(t *testing.T) { onStan(t, "doctor_streaming") }
