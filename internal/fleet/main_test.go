package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"muster/internal/state"
	"muster/ssh/relay"
)

const build = "1.2.3-test"

// TestMain makes the test binary serve as muster on the other side.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "--version":
			fmt.Println("muster version " + build)
			os.Exit(0)
		case "relay":
			os.Exit(relayed())
		case "worker":
			os.Exit(works(os.Args[3]))
		}
	}
	home, err := os.MkdirTemp("", "fleet")
	if err == nil {
		err = os.MkdirAll(filepath.Join(home, ".ssh"), 0o700)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("HOME", home)
	os.Unsetenv("SSH_AUTH_SOCK")
	flag.Set("test.parallel", "8") // they wait for logins most of the time
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

func relayed() int {
	rw, err := relay.Stdio()
	if err == nil {
		err = relay.Serve(context.Background(), rw, relay.ServeOptions{Build: build})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// works is a worker that does as its join file says.
func works(joinFile string) int {
	b, err := os.ReadFile(joinFile)
	if err != nil {
		fmt.Println("no join file")
		return 1
	}
	switch string(b) {
	case "fail\n":
		fmt.Println("no such module")
		return 1
	case "stay\n":
		signal.Ignore(syscall.SIGTERM)
	}
	fmt.Println("here")
	select {} // until it is ended
}

// near is muster here, in a folder that is called by its SHA-256: a script, which is
// soon copied.
var near = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	script := filepath.Join(os.Getenv("HOME"), "muster")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+self+" \"$@\"\n"), 0o700); err != nil {
		return "", err
	}
	return state.Binary(os.Getenv("HOME"), script)
})
