package stanserver_test

import (
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{
		"memory": stanserver.Role(),
		"files":  stanserver.Role(stanserver.FileStore(), stanserver.ClusterID("orders")),
	})
	leaktest.Main(m)
}
