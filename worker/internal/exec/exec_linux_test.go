package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/proctree"
	"muster/internal/testbed"
	"muster/task"
)

func newRunner(t testing.TB) *Runner {
	t.Helper()
	r, err := New(Options{ScratchDir: t.TempDir(), Env: append(os.Environ(), "BASE=b"), WorkerID: "w", Slot: 3, Grace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// noOutput fails the test if a short task calls out.
func noOutput(t testing.TB) func(int, []byte) error {
	return func(n int, p []byte) error {
		t.Errorf("%d bytes of stream %d were sent", len(p), n)
		return nil
	}
}

func sh(text string) task.Spec { return task.Spec{Argv: []string{"sh", "-c", text}, Dir: "/"} }

func run(t testing.TB, r *Runner, s task.Spec) Report {
	t.Helper()
	rep := r.Run(context.Background(), 42, s, noOutput(t))
	if left, err := proctree.Descendants(os.Getpid()); err != nil || len(left) > 0 {
		t.Errorf("%q left processes %v, %v", s.Argv, left, err)
	}
	return rep
}

func TestOutcomes(t *testing.T) {
	r := newRunner(t)
	for _, c := range []struct {
		name string
		s    task.Spec
		kind task.Kind // 0 for none
		code int
		want string // in the message or the evidence
	}{
		{"success", sh("exit 0"), 0, 0, ""},
		{"status", sh("exit 9"), task.KindExit, 9, "exit status 9"},
		{"SIGSEGV", sh("kill -SEGV $$"), task.KindSignal, 139, "SIGSEGV"},
		{"SIGKILL", sh("kill -KILL $$"), task.KindSignal, 137, "SIGKILL"},
		{"SIGTERM", sh("kill -TERM $$"), task.KindSignal, 143, "SIGTERM"},
		{"SIGINT", sh("kill -INT $$"), task.KindInterrupt, 130, "SIGINT"},
		{"its own error", sh(`printf %s '{"message":"own\nwords","x":1}' >$MUSTER_ERROR_FILE; exit 4`), task.KindError, 4, "own"},
		{"an error without a message", sh(`echo '{}' >$MUSTER_ERROR_FILE; exit 4`), task.KindError, 4, "exit status 4"},
		{"an error that is no JSON", sh(`echo oops >$MUSTER_ERROR_FILE; exit 4`), task.KindExit, 4, "is no JSON object"},
		{"an error too long", sh(`head -c 70000 /dev/zero >$MUSTER_ERROR_FILE; exit 4`), task.KindExit, 4, "70000 bytes"},
		{"a folder for an error", sh(`mkdir $MUSTER_ERROR_FILE; exit 4`), task.KindExit, 4, "no regular file"},
		{"a link for an error", sh(`ln -s /etc/passwd $MUSTER_ERROR_FILE; exit 4`), task.KindExit, 4, "no regular file"},
		{"its own error and a signal", sh(`echo '{"message":"own"}' >$MUSTER_ERROR_FILE; kill -TERM $$`), task.KindSignal, 143, "killed by SIGTERM"},
		{"recovered", sh(`echo '{"message":"m"}' >$MUSTER_ERROR_FILE`), 0, 0, ""},
		{"no name", task.Spec{Argv: []string{""}, Dir: "/"}, task.KindSpawn, 127, "empty"},
		{"too long", task.Spec{Argv: []string{"true", strings.Repeat("x", 1<<18)}, Dir: "/"}, task.KindSpawn, 126, "too long"},
	} {
		rep := run(t, r, c.s)
		switch {
		case c.kind == 0 && rep.Err != nil:
			t.Errorf("%s: %+v", c.name, rep.Err)
		case c.kind != 0 && (rep.Err == nil || rep.Err.Kind != c.kind || rep.Err.Code != c.code ||
			!strings.Contains(rep.Err.Message+rep.Err.Evidence, c.want)):
			t.Errorf("%s: %+v, want kind %v, code %d, %q", c.name, rep.Err, c.kind, c.code, c.want)
		}
	}
}

// TestLacks: what another machine may be able to do is no error of the task's, and
// its process has not been announced.
// TestOutOfMemory: the kernel counts what it kills; a file stands for its counter.
func TestOutOfMemory(t *testing.T) {
	r := newRunner(t)
	file := filepath.Join(t.TempDir(), "memory.events")
	if err := os.WriteFile(file, []byte("low 0\noom_kill 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	r.oom = &oomCounter{fd, file}
	const kills = "n=$(sed -n 's/oom_kill //p' COUNTER); echo oom_kill $((n + 1)) >COUNTER; "
	for _, c := range []struct {
		text string
		kind task.Kind
		want string // in the message
		says bool   // the evidence has the counter
	}{
		{kills + "kill -KILL $$", task.KindOOM, "out of memory", true},
		{kills + "exit 137", task.KindOOM, "out of memory", true},
		{kills + "exit 1", task.KindExit, "exit status 1, and the kernel killed a process for want of memory", true},
		{kills + "kill -TERM $$", task.KindSignal, "killed by SIGTERM, and the kernel killed a process for want of memory", true},
		{kills + `echo '{"message": "own"}' >$MUSTER_ERROR_FILE; exit 1`, task.KindError, "own", true},
		{"kill -KILL $$", task.KindSignal, "killed by SIGKILL", false},
		{"exit 1", task.KindExit, "exit status 1", false},
	} {
		rep := run(t, r, sh(strings.ReplaceAll(c.text, "COUNTER", file)))
		if rep.Note != "" {
			t.Errorf("%s: note %q", c.text, rep.Note)
		}
		if e := rep.Err; e == nil || e.Kind != c.kind || e.Message != c.want || strings.Contains(e.Evidence, "oom_kill in "+file+" rose from ") != c.says {
			t.Errorf("%s: %+v", c.text, e)
		}
	}
	rep := run(t, r, sh(strings.ReplaceAll(kills+"exit 0", "COUNTER", file)))
	if rep.Err != nil || !strings.HasPrefix(rep.Note, "the kernel killed a process for want of memory: oom_kill in "+file) {
		t.Errorf("one that succeeded: %+v", rep)
	}
	if rep := run(t, r, sh("exit 0")); rep.Note != "" {
		t.Errorf("one in which nothing was killed: %+v", rep)
	}
}

func TestLacks(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o600); err != nil {
		t.Fatal(err)
	}
	began := 0
	r := newRunner(t)
	r.o.Begin = func() { began++ }
	for _, c := range []struct {
		name string
		s    task.Spec
		kind task.LackKind
		code int
		want string // in the message or the evidence
	}{
		{"not found", task.Spec{Argv: []string{"nosuchprogram"}, Dir: "/"}, task.LackProgram, 127, "PATH="},
		{"not found, and there", task.Spec{Argv: []string{"passwd"}, Dir: "/etc", Env: []string{"PATH=/dev"}}, task.LackProgram, 127, `program "passwd" not found; it is in the working directory: write ./passwd`},
		{"not found by path", task.Spec{Argv: []string{"./nosuch"}, Dir: "/etc"}, task.LackProgram, 127, "/etc/nosuch"},
		{"not executable", task.Spec{Argv: []string{"/etc/passwd"}, Dir: "/"}, task.LackProgram, 126, "permission denied"},
		{"a directory", task.Spec{Argv: []string{"/etc"}, Dir: "/"}, task.LackProgram, 126, "permission denied"},
		{"no such directory", task.Spec{Argv: []string{"true"}, Dir: "/nowhere"}, task.LackDirectory, 126, "/nowhere: no such file"},
		{"no directory", task.Spec{Argv: []string{"true"}, Dir: "/etc/passwd"}, task.LackDirectory, 126, "/etc/passwd: not a directory"},
		{"a locked directory", task.Spec{Argv: []string{"true"}, Dir: locked}, task.LackDirectory, 126, locked + ": permission denied"},
		{"a locked directory and no program", task.Spec{Argv: []string{"nosuchprogram"}, Dir: locked}, task.LackDirectory, 126, "cannot enter"},
	} {
		if c.s.Dir == locked && os.Getuid() == 0 {
			continue // root may enter anything
		}
		rep := run(t, r, c.s)
		if rep.Err != nil || rep.Lack == nil || rep.Lack.Kind != c.kind || rep.Lack.Code != c.code ||
			!strings.Contains(rep.Lack.Message+rep.Lack.Evidence, c.want) {
			t.Errorf("%s: %+v, %+v, want kind %v, code %d, %q", c.name, rep.Lack, rep.Err, c.kind, c.code, c.want)
		}
		if c.kind == task.LackDirectory && began > 0 {
			t.Errorf("%s: its process was announced", c.name)
		}
		began = 0
	}
}

// TestLackOfScratch: a scratch folder that cannot be made is the machine's fault,
// and once it can be made, all is well.
func TestLackOfScratch(t *testing.T) {
	r, dir := newRunner(t), t.TempDir()
	blocked := filepath.Join(dir, "blocked")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.scratch.dir, r.scratch.ready = filepath.Join(blocked, "task"), false
	if rep := run(t, r, sh("exit 0")); rep.Lack == nil || rep.Lack.Kind != task.LackScratch || rep.Err != nil {
		t.Errorf("a file in its place: %+v, %+v", rep.Lack, rep.Err)
	}
	os.Remove(blocked)
	os.Mkdir(blocked, 0o700)
	if rep := run(t, r, sh("exit 0")); rep.Lack != nil || rep.Err != nil {
		t.Errorf("when it can be made: %+v, %+v", rep.Lack, rep.Err)
	}
	os.Mkdir(filepath.Join(blocked, "stdin"), 0o700)
	os.WriteFile(filepath.Join(blocked, "stdin", "f"), nil, 0o600)
	s := sh("cat")
	s.Input = []byte("x")
	if rep := run(t, r, s); rep.Lack == nil || rep.Lack.Kind != task.LackScratch {
		t.Errorf("standard input cannot be kept: %+v, %+v", rep.Lack, rep.Err)
	}
}

// TestLackOfAWritableScratch: that the disk has become read-only is found out before
// the next task writes there and fails, though the last one left nothing.
func TestLackOfAWritableScratch(t *testing.T) {
	r := newRunner(t)
	testbed.Tmpfs(t, r.o.ScratchDir, "4m")
	remount := func(flags uintptr) {
		if err := syscall.Mount("", r.o.ScratchDir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	run := func() Report {
		return r.Run(context.Background(), 1, task.Spec{Argv: []string{"true"}, Dir: "/"}, noOutput(t))
	}
	if rep := run(); rep.Err != nil || rep.Lack != nil {
		t.Fatalf("%+v", rep)
	}
	remount(syscall.MS_RDONLY)
	if rep := run(); rep.Lack == nil || rep.Lack.Kind != task.LackScratch || !strings.Contains(rep.Lack.Message, "read-only") {
		t.Errorf("%+v", rep.Lack)
	}
	remount(0)
	if rep := run(); rep.Err != nil || rep.Lack != nil {
		t.Errorf("when it can be written again: %+v", rep)
	}
}

// TestLackOfProcesses: a machine at its limits is no fault of the task.
func TestLackOfProcesses(t *testing.T) {
	r := newRunner(t)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	run(t, r, sh("exit 0")) // so that it is known where sh is
	limit := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
	}
	limit(syscall.Rlimit{Cur: 3, Max: was.Max})
	rep := r.Run(context.Background(), 1, sh("exit 0"), noOutput(t))
	limit(was)
	if rep.Lack == nil || rep.Lack.Kind != task.LackProcess || rep.Err != nil {
		t.Errorf("no descriptors: %+v, %+v", rep.Lack, rep.Err)
	}
	if rep := run(t, r, sh("exit 0")); rep.Lack != nil || rep.Err != nil {
		t.Errorf("with descriptors again: %+v, %+v", rep.Lack, rep.Err)
	}
}

func TestProgramsAreFoundAsAShellFindsThem(t *testing.T) {
	r, dir := newRunner(t), t.TempDir()
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, "bin"), 0o700)
	script("bin/tool", "#!/bin/sh\necho tool $1\n")
	script("plain", "echo plain $1\n")
	script("orphan", "#!/no/such/interpreter\n")
	script("windows", "#!/bin/sh\r\necho\r\n")
	for _, c := range []struct {
		argv, env []string
		want      string
	}{
		{[]string{"bin/tool", "a"}, nil, "tool a\n"},
		{[]string{"tool", "b"}, []string{"PATH=bin:/usr/bin:/bin"}, "tool b\n"},
		{[]string{"tool", "c"}, []string{"PATH=" + dir + "/bin:/bin"}, "tool c\n"},
		{[]string{"./plain", "d"}, nil, "plain d\n"}, // no #! line: /bin/sh runs it
	} {
		rep := run(t, r, task.Spec{Argv: c.argv, Env: c.env, Dir: dir})
		if string(rep.Stdout) != c.want || rep.Err != nil {
			t.Errorf("%q with %q: %q, %+v", c.argv, c.env, rep.Stdout, rep.Err)
		}
	}
	for program, why := range map[string]string{"./orphan": "its first line names /no/such/interpreter", "./windows": "CR LF: dos2unix mends it"} {
		rep := run(t, r, task.Spec{Argv: []string{program}, Dir: dir})
		if rep.Lack == nil || rep.Lack.Kind != task.LackProgram || !strings.Contains(rep.Lack.Message, "interpreter is missing") || !strings.Contains(rep.Lack.Evidence, why) {
			t.Errorf("a missing interpreter of %s: %+v", program, rep.Lack)
		}
	}
	// What was found once is looked for again when it has moved.
	path := []string{"PATH=" + dir + "/bin:" + dir + "/lib:/bin"}
	os.Mkdir(filepath.Join(dir, "lib"), 0o700)
	os.Rename(filepath.Join(dir, "bin/tool"), filepath.Join(dir, "lib/tool"))
	run(t, r, task.Spec{Argv: []string{"tool"}, Env: path, Dir: dir})
	os.Rename(filepath.Join(dir, "lib/tool"), filepath.Join(dir, "bin/tool"))
	if rep := run(t, r, task.Spec{Argv: []string{"tool", "e"}, Env: path, Dir: dir}); string(rep.Stdout) != "tool e\n" {
		t.Errorf("after it moved: %q, %+v", rep.Stdout, rep.Err)
	}
}

func TestWhatATaskSees(t *testing.T) {
	r := newRunner(t)
	s := sh(`echo $MUSTER_TASK_ID $MUSTER_INDEX $MUSTER_NAME $MUSTER_WORKER_ID $MUSTER_SLOT $BASE $MORE; pwd; cat; test $(ps -o pgid= -p $$) = $$ || echo group`)
	s.Index, s.Name, s.Dir, s.Env = 7, "n", os.TempDir(), []string{"BASE=over", "MORE=m", "MORE=more"}
	if rep := run(t, r, s); string(rep.Stdout) != "42 7 n w 3 over more\n"+os.TempDir()+"\n" {
		t.Errorf("%q, %+v", rep.Stdout, rep.Err)
	}
}

func TestScratchIsEmptyWhateverTheLastTaskDid(t *testing.T) {
	r := newRunner(t)
	for _, mess := range []string{
		`touch $MUSTER_TASK_DIR/f`,
		`mkdir -p $MUSTER_TASK_DIR/d/e; chmod 0 $MUSTER_TASK_DIR/d`,
		`rmdir $MUSTER_TASK_DIR`,
		`rmdir $MUSTER_TASK_DIR; ln -s /etc $MUSTER_TASK_DIR`,
		`chmod 0 $MUSTER_TASK_DIR`,
		`echo '{"message":"old"}' >$MUSTER_ERROR_FILE`,
		`mkdir $MUSTER_ERROR_FILE`,
	} {
		run(t, r, sh(mess))
		rep := run(t, r, sh(`ls -A $MUSTER_TASK_DIR; stat -c %a $MUSTER_TASK_DIR; touch $MUSTER_TASK_DIR/mine; ls $MUSTER_ERROR_FILE 2>/dev/null; exit 5`))
		if string(rep.Stdout) != "700\n" || rep.Err == nil || rep.Err.Kind != task.KindExit {
			t.Errorf("after %s: %q, %+v", mess, rep.Stdout, rep.Err)
		}
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Fatal("a link was followed and what it led to removed")
	}
}

// collector takes what a task sends.
type collector struct {
	streams [3]bytes.Buffer
	largest int
}

func (c *collector) out(n int, p []byte) error {
	c.streams[n].Write(p)
	c.largest = max(c.largest, len(p))
	return nil
}

func TestLargeOutputArrivesWholeAndInOrder(t *testing.T) {
	r := newRunner(t)
	var c collector
	rep := r.Run(context.Background(), 1, sh("seq 200000; seq 200000 300000 >&2"), c.out)
	if rep.Err != nil {
		t.Fatal(rep.Err)
	}
	c.streams[1].Write(rep.Stdout)
	c.streams[2].Write(rep.Stderr)
	for n, first := range []int{1: 1, 2: 200000} {
		if n == 0 {
			continue
		}
		last := n*100000 + 100000
		var want bytes.Buffer
		for i := first; i <= last; i++ {
			fmt.Fprintln(&want, i)
		}
		if !bytes.Equal(c.streams[n].Bytes(), want.Bytes()) {
			t.Errorf("stream %d: %d bytes, want %d", n, c.streams[n].Len(), want.Len())
		}
	}
	if c.largest > chunk || len(rep.Stdout) > tail || len(rep.Stderr) > tail {
		t.Errorf("pieces of %d, tails of %d and %d", c.largest, len(rep.Stdout), len(rep.Stderr))
	}
}

// TestLiveOutputIsGathered: a task that prints a byte at a time does not cost a piece
// each, and nothing of it is lost.
func TestLiveOutputIsGathered(t *testing.T) {
	r := newRunner(t)
	var c collector
	pieces := 0
	spec := sh("i=0; while [ $i -lt 3000 ]; do printf x; i=$((i+1)); done; sleep 0.2; printf y")
	spec.Live = true
	rep := r.Run(context.Background(), 1, spec, func(n int, p []byte) error {
		pieces++
		return c.out(n, p)
	})
	c.streams[1].Write(rep.Stdout)
	if got, want := c.streams[1].String(), strings.Repeat("x", 3000)+"y"; got != want || rep.Err != nil {
		t.Errorf("%d bytes came, %v", len(got), rep.Err)
	}
	if most := 2 + int(rep.Elapsed/liveAfter); pieces == 0 || pieces > most {
		t.Errorf("%d pieces came in %v", pieces, rep.Elapsed)
	}
}

func TestASlowReaderHoldsTheCommandUp(t *testing.T) {
	r, dir := newRunner(t), t.TempDir()
	gate := make(chan struct{})
	total := 0
	done := make(chan Report)
	go func() {
		done <- r.Run(context.Background(), 1, sh("head -c 10000000 /dev/zero; touch "+dir+"/wrote"), func(_ int, p []byte) error {
			<-gate
			total += len(p)
			return nil
		})
	}()
	gate <- struct{}{} // the first piece; the command cannot be through
	if _, err := os.Stat(dir + "/wrote"); err == nil {
		t.Error("10 MB were written although nobody reads")
	}
	close(gate)
	if rep := <-done; rep.Err != nil || total+len(rep.Stdout) != 10000000 {
		t.Errorf("%d bytes arrived, %+v", total+len(rep.Stdout), rep.Err)
	}
}

func TestOutputThatNobodyTakesIsAnError(t *testing.T) {
	r := newRunner(t)
	rep := r.Run(context.Background(), 1, sh("head -c 1000000 /dev/zero"), func(int, []byte) error { return errors.New("no room") })
	if rep.Err == nil || !strings.Contains(rep.Err.Evidence, "no room") {
		t.Errorf("%+v", rep.Err)
	}
}

// stubborn is a tree of which every part ignores SIGTERM, one of them in a
// session of its own and with an empty environment.
const stubborn = `trap "" TERM; setsid env -i sh -c 'trap "" TERM; echo up; while :; do sleep 1000; done' & while :; do sleep 1000; done`

func TestTimeLimitEndsTheWholeTree(t *testing.T) {
	r := newRunner(t)
	s := sh(stubborn)
	s.Timeout = 300 * time.Millisecond
	var c collector
	rep := r.Run(context.Background(), 1, s, c.out)
	if rep.Err == nil || rep.Err.Kind != task.KindTimeout || rep.Err.Code != task.CodeTimeout || c.streams[1].String()+string(rep.Stdout) != "up\n" {
		t.Errorf("%+v, %q", rep.Err, rep.Stdout)
	}
	if left, _ := proctree.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if rep.Elapsed < s.Timeout {
		t.Errorf("it ran for %v", rep.Elapsed)
	}
}

func TestCancelEndsTheWholeTree(t *testing.T) {
	r := newRunner(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := task.Cancelled("because")
	rep := r.Run(ctx, 1, sh(stubborn+"; "), func(int, []byte) error {
		cancel(why) // once all are up
		return nil
	})
	if rep.Err != why {
		t.Errorf("%+v", rep.Err)
	}
	if left, _ := proctree.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if rep := r.Run(ctx, 1, sh("exit 0"), noOutput(t)); rep.Err != why {
		t.Errorf("cancelled before it started: %+v", rep.Err)
	}
}

func TestManyProcessesAreCleared(t *testing.T) {
	r := newRunner(t)
	s := sh(`i=0; while test $i -lt 200; do (setsid sleep 1000 &) ; i=$((i+1)); done; echo all`)
	if rep := r.Run(context.Background(), 1, s, func(int, []byte) error { return nil }); rep.Err != nil {
		t.Errorf("%+v", rep.Err)
	}
	if left, _ := proctree.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

func TestWhatIsLeftBehindGoes(t *testing.T) {
	r := newRunner(t)
	silent := run(t, r, sh(`sleep 1000 >/dev/null 2>&1 & exit 0`))
	if silent.Err != nil {
		t.Errorf("%+v", silent.Err)
	}
	// What still writes is given a moment, and what it wrote is kept.
	start := time.Now()
	rep := r.Run(context.Background(), 1, sh(`(echo early; exec sleep 1000) & exit 0`), noFail)
	if took := time.Since(start); rep.Err != nil || took > 20*time.Second {
		t.Errorf("%+v after %v", rep.Err, took)
	}
	if left, _ := proctree.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func noFail(int, []byte) error { return nil }

func TestManyRunsLeaveNothingOpen(t *testing.T) {
	r := newRunner(t)
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	run(t, r, sh("exit 0"))
	before := open()
	for i := range 300 {
		if rep := r.Run(context.Background(), task.ID(i), task.Spec{Argv: []string{"true"}, Dir: "/"}, noOutput(t)); rep.Err != nil {
			t.Fatalf("run %d: %+v", i, rep.Err)
		}
		r.Run(context.Background(), task.ID(i), task.Spec{Argv: []string{"nosuchprogram"}, Dir: "/"}, noOutput(t))
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func BenchmarkTrue(b *testing.B) {
	r := newRunner(b)
	for b.Loop() {
		if rep := r.Run(context.Background(), 1, task.Spec{Argv: []string{"true"}, Dir: "/"}, noFail); rep.Err != nil {
			b.Fatal(rep.Err)
		}
	}
}

func BenchmarkOutput(b *testing.B) {
	r := newRunner(b)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if rep := r.Run(context.Background(), 1, sh("head -c 67108864 /dev/zero"), noFail); rep.Err != nil {
			b.Fatal(rep.Err)
		}
	}
}
