//go:build unix

package process

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestDispatchReturnsInAProcessThatIsNoChild(t *testing.T) {
	Dispatch(nil)
}

func TestPlayRunsTheRoleAndTellsItsStatus(t *testing.T) {
	ran := ""
	roles := Roles{
		"good": func(ctx context.Context) error {
			ran = os.Getenv(roleVar) + os.Getenv(restartsVar)
			Ready(ctx, "here")
			if n := Restarts(ctx); n != 3 {
				t.Errorf("Restarts %d, want 3", n)
			}
			return nil
		},
		"bad": func(context.Context) error { return errors.New("expected here") },
	}
	for role, want := range map[string]int{"good": 0, "bad": 1, "none": 2} {
		t.Setenv(roleVar, role)
		t.Setenv(restartsVar, "3")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if got := play(t.Context(), roles, role, w); got != want {
			t.Errorf("role %q: status %d, want %d", role, got, want)
		}
		w.Close()
		if said, err := io.ReadAll(r); err != nil || role == "good" && string(said) != readyMark+"here" {
			t.Errorf("role %q wrote %q, error %v", role, said, err)
		}
		r.Close()
	}
	if ran != "" {
		t.Errorf("the role's own children would see %q", ran)
	}
}

func TestTheEndOfItsStandardInputEndsAChild(t *testing.T) {
	// Not by Start: the kernel is not to kill it.
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), roleVar+"=hang")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want status 1", err)
	}
}

func TestAProgramThatDoesNotDispatchHasNoChildren(t *testing.T) {
	t.Setenv(roleVar, "forgotten")
	if p, err := Start("echo"); !errors.Is(err, errNoDispatch) {
		t.Errorf("Start: %v, %v", p, err)
	}
}
