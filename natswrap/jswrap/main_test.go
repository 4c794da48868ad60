package jswrap

import (
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{"nats": natsserver.Role()})
	leaktest.Main(m)
}
