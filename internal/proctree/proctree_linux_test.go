package proctree_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/proctree"
)

func TestMain(m *testing.M) {
	if err := proctree.Subreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func none(int) bool { return false }

// start runs a script and returns it and what it says, a number a line, until
// it closes its output or says "ready".
func start(t *testing.T, argv ...string) (*exec.Cmd, []int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proctree.Clear(0, none) })
	var pids []int
	for s := bufio.NewScanner(out); s.Scan() && s.Text() != "ready"; {
		pid, err := strconv.Atoi(s.Text())
		if err != nil {
			t.Fatalf("the script said %q", s.Text())
		}
		pids = append(pids, pid)
	}
	return cmd, pids
}

// alive reports whether pid exists and is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestClearEndsWhateverDescends(t *testing.T) {
	daemon := `setsid sh -c 'setsid env -i sleep 1000 >/dev/null & echo $!'; `
	tests := []struct {
		name, script string
		grace        time.Duration
	}{
		{"setsid with an empty environment", `setsid env -i sleep 1000 >/dev/null & echo $!; echo ready; wait`, 0},
		{"double fork", daemon + `echo ready; exec sleep 1000`, 0},
		{"double fork whose parents are gone", daemon + daemon + `exit`, 0},
		{"asked first", daemon + `echo ready; exec sleep 1000`, time.Minute},
		{"ignores SIGTERM", `trap '' TERM; sleep 1000 >/dev/null & echo $!; echo ready; wait`, 50 * time.Millisecond},
		{"stopped", `sleep 1000 >/dev/null & echo $!; kill -STOP $!; echo ready; wait`, time.Minute},
		{"puts itself back", `f() { sleep 1000 >/dev/null & echo $!; }; trap 'f; f; f' TERM; f; echo ready; wait; wait`, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd, pids := start(t, "sh", "-c", tt.script)
			if len(pids) == 0 || !alive(pids[0]) {
				t.Fatalf("nothing to end: %v", pids)
			}
			began := time.Now()
			if err := proctree.Clear(tt.grace, none); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			for _, pid := range append(pids, cmd.Process.Pid) {
				if alive(pid) {
					t.Errorf("%d still lives", pid)
				}
			}
			if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
				t.Errorf("children are left: wait4 says %v", err)
			}
		})
	}
}

func TestClearAsksOnceBeforeItKills(t *testing.T) {
	log := t.TempDir() + "/log"
	start(t, "sh", "-c", `trap 'echo TERM >>"$0"' TERM; echo ready; while :; do sleep 0.01; done`, log)
	if err := proctree.Clear(300*time.Millisecond, none); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(log); string(b) != "TERM\n" {
		t.Errorf("it was told %q", b)
	}
}

func TestClearOutrunsForks(t *testing.T) {
	scripts := map[string]string{
		"storm":            `$SIG{CHLD}="IGNORE"; for (1..20000) { if (!fork) { sleep 1000; exit } }`,
		"moving target":    `while (time - $t < 60) { my $p = fork; exit if $p }`,
		"with own groups":  `for (1..300) { if (!fork) { setpgrp(0,0); if (!fork) { setpgrp(0,0); sleep 1000 } sleep 1000 } } sleep 1000`,
		"respawns its own": `$SIG{TERM}="IGNORE"; while (time - $t < 60) { my $p = fork // next; if (!$p) { setpgrp(0,0); sleep 1000; exit } waitpid $p, 0 }`,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			// The limit is only for a test that fails.
			start(t, "perl", "-e", `$|=1; $t=time; alarm 60; print "ready\n"; close STDOUT; `+script)
			if err := proctree.Clear(0, none); err != nil {
				t.Fatal(err)
			}
			if left, err := proctree.Descendants(os.Getpid()); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

func TestClearKeepsWhatItIsTold(t *testing.T) {
	kept, below := start(t, "sh", "-c", `setsid sleep 1000 >/dev/null & echo $!; echo ready; wait; exit 7`)
	dead, _ := start(t, "sh", "-c", `exit 5`)
	other, others := start(t, "sh", "-c", `setsid env -i sleep 1000 >/dev/null & echo $!; echo ready; wait`)
	keep := func(pid int) bool { return pid == kept.Process.Pid || pid == dead.Process.Pid }
	if err := proctree.Clear(0, keep); err != nil {
		t.Error(err)
	}
	if !alive(kept.Process.Pid) || !alive(below[0]) {
		t.Error("a kept process was ended")
	}
	if alive(other.Process.Pid) || alive(others[0]) {
		t.Error("another process was not ended")
	}
	syscall.Kill(below[0], syscall.SIGKILL)
	kept.Wait()
	dead.Wait()
	if a, b := kept.ProcessState.ExitCode(), dead.ProcessState.ExitCode(); a != 7 || b != 5 {
		t.Errorf("kept processes ended with %d and %d, not 7 and 5: were they reaped?", a, b)
	}
}

func TestDescendants(t *testing.T) {
	// A name with everything that could mislead a reader of /proc/PID/stat.
	name := t.TempDir() + "/a) Z 1 (\n)"
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, name); err != nil {
		t.Fatal(err)
	}
	cmd, pids := start(t, "sh", "-c", `"$0" 1000 >/dev/null & echo $!; sh -c 'exit 3' & echo $!; echo ready; exec sleep 1000`, name)
	zombie := pids[1]
	for deadline := time.Now().Add(10 * time.Second); alive(zombie) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	got, err := proctree.Descendants(os.Getpid())
	if want := []int{cmd.Process.Pid, pids[0]}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v without the zombie %d", got, err, want, zombie)
	}
	if got, err := proctree.Descendants(pids[0]); err != nil || len(got) != 0 {
		t.Errorf("a process without children has %v, %v", got, err)
	}
}

func TestKillGroup(t *testing.T) {
	cmd, pids := start(t, "sh", "-c", `sleep 1000 >/dev/null & echo $!; echo ready; wait`)
	if err := proctree.KillGroup(cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	syscall.Wait4(pids[0], nil, 0, nil)
	if alive(pids[0]) {
		t.Error("a process of the group lives")
	}
	if err := proctree.KillGroup(cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Errorf("a group without processes: %v", err)
	}
	for _, pgid := range []int{-1, 0, 1} {
		if proctree.KillGroup(pgid, 0) == nil {
			t.Errorf("group %d would mean everybody", pgid)
		}
	}
}

// TestClearLeavesTheAwaitedToTheirStarter: a child that os/exec waits for is
// ended, with what descends from it, and its status is still there for os/exec,
// whichever of the two is quicker.
func TestClearLeavesTheAwaitedToTheirStarter(t *testing.T) {
	for range 20 {
		cmd, pids := start(t, "sh", "-c", `setsid sleep 1000 >/dev/null & echo $!; echo ready; wait`)
		awaited := func(pid int) bool { return pid == cmd.Process.Pid }
		waited := make(chan error, 1)
		go func() { waited <- cmd.Wait() }()
		if err := proctree.ClearAwaited(0, none, awaited); err != nil {
			t.Fatal(err)
		}
		if alive(pids[0]) || alive(cmd.Process.Pid) {
			t.Fatal("it left something")
		}
		<-waited
		if cmd.ProcessState == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("os/exec was told that it ended with %v", cmd.ProcessState)
		}
	}
}
