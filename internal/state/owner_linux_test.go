package state_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/state"
)

func TestKilledOwnerIsNoticed(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STATE_TEST_OWN="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var run string
	if _, err := fmt.Fscanln(stdout, &run); err != nil {
		t.Fatal(err)
	}
	state.Prune(dir, time.Now())
	if !exists(run) {
		t.Error("the folder of a process that runs was removed")
	}
	cmd.Process.Kill()
	// Who started it may never wait for it.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	state.Prune(dir, time.Now())
	if exists(run) {
		t.Error("the folder of a process that was killed is still there")
	}
	cmd.Wait()
}
