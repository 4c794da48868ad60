package process_test

import (
	"context"
	"net/http"
	"os"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

// In a program that is not a test, Dispatch is the first call of main.
func ExampleDispatch() {
	serve := func(ctx context.Context) error {
		s := &http.Server{Addr: os.Getenv("ADDR")}
		context.AfterFunc(ctx, func() { s.Close() })
		process.Ready(ctx, s.Addr)
		return s.ListenAndServe()
	}
	_ = func(m *testing.M) { // TestMain
		process.Dispatch(process.Roles{"web": serve})
		os.Exit(m.Run())
	}
}

// A service that is killed in the middle of its work, and started again.
func ExampleRun() {
	_ = func(t *testing.T) {
		p := process.Run(t, "web", process.Env("ADDR=127.0.0.1:8080"))
		p.Kill()
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}
