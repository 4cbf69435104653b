package disposition_test

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"muster/internal/disposition"
)

// TestMain makes the test binary serve as a program that sends itself signals and exits
// with the number of the first that it catches.
func TestMain(m *testing.M) {
	if os.Getenv("DISPOSITION_TEST") == "" {
		os.Exit(m.Run())
	}
	disposition.Inherit()
	c := make(chan os.Signal, 1)
	disposition.Notify(c, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	ctx, stop := disposition.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		syscall.Kill(os.Getpid(), sig)
		if signal.Ignored(sig) {
			continue
		}
		if sig == syscall.SIGINT {
			<-ctx.Done()
		}
		break
	}
	os.Exit(int((<-c).(syscall.Signal)))
}

// TestIgnored: what was ignored when a program started is not caught, and nothing else
// is in its place.
func TestIgnored(t *testing.T) {
	// A program gets the default of what its parent catches, whatever this test's own
	// parent ignores, as nohup does.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	defer signal.Stop(caught)
	for ignored, want := range map[string]syscall.Signal{
		"":         syscall.SIGHUP,
		"HUP":      syscall.SIGINT,
		"INT":      syscall.SIGHUP,
		"HUP INT":  syscall.SIGTERM, // QUIT goes with INT
		"QUIT HUP": syscall.SIGINT,
	} {
		cmd := exec.Command("sh", "-c", `test -z "$2" || trap "" $2; exec "$1"`, "sh", os.Args[0], ignored)
		cmd.Env = append(os.Environ(), "DISPOSITION_TEST=1")
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != int(want) {
			t.Errorf("%q ignored: %d was caught first, want %d", ignored, got, want)
		}
	}
}
