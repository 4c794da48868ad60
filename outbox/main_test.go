package outbox_test

import (
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
