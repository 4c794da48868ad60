package natswrap

import (
	"os"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(runChild())
	}
	leaktest.Main(m)
}
