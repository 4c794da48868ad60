package leaktest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

const leak = "LEAKTEST_LEAK"

// TestLeaves leaves a goroutine behind when it is told to.
func TestLeaves(t *testing.T) {
	if os.Getenv(leak) == "" {
		t.Skip("only for TestAGoroutineThatIsLeftFailsTheTests")
	}
	patience = 0
	go func() { select {} }()
}

func TestAGoroutineThatIsLeftFailsTheTests(t *testing.T) {
	for _, tt := range []struct {
		env    string
		failed bool
	}{
		{leak + "=1", true},
		{leak + "=", false},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLeaves$")
		cmd.Env = append(os.Environ(), tt.env)
		out, err := cmd.CombinedOutput()
		if failed := err != nil; failed != tt.failed {
			t.Errorf("%s: error %v\n%s", tt.env, err, out)
		}
		if tt.failed && !strings.Contains(string(out), "leaktest.TestLeaves") {
			t.Errorf("the goroutine is not named in:\n%s", out)
		}
	}
}

func TestAGoroutineThatTakesItsTimeToEndIsNotLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	if goleak.Find(before) == nil {
		t.Fatal("goleak does not see the goroutine")
	}
	// It ends when goleak has given up by itself.
	time.AfterFunc(time.Second, func() { close(end) })
	if err := Find(before); err != nil {
		t.Error(err)
	}
}
