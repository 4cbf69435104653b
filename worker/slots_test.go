package worker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// desk is a dispatcher of which the test plays the part: it sends what the test
// says and shows what the worker answers.
type desk struct {
	*testing.T
	in    *wire.Reader
	out   *wire.Writer
	ended chan error
	said  []string // what the worker has said, as see prints it
	dir   string
	last  uint64
}

// newDesk lets a worker in that has been changed as the test likes. Its slots are
// processes.
func newDesk(t *testing.T, slots int, change ...func(*worker.Options)) *desk {
	t.Helper()
	return newDeskThatBeats(t, time.Second, slots, change...)
}

// newDeskThatBeats is newDesk with another time between heartbeats.
func newDeskThatBeats(t *testing.T, every time.Duration, slots int, change ...func(*worker.Options)) *desk {
	t.Helper()
	id, err := mtls.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, "tcp", "127.0.0.1:0")
	o := options(t, mtls.Join{Pin: id.Pin(), Launch: "l", Token: mtls.NewToken(), Addrs: []string{"tcp:" + l.Addr().String()}})
	o.Slots = slots
	for _, f := range change {
		f(&o)
	}
	d := &desk{T: t, ended: make(chan error, 1), dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := worker.Run(ctx, o)
		d.ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		<-d.ended
	})
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := mtls.Server(ctx, raw, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.ReadHello(conn, &wire.Hello{}); err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteHello(conn, &wire.Welcome{Version: wire.Version, WorkerID: "w", Heartbeat: every}); err != nil {
		t.Fatal(err)
	}
	conn.NetConn().SetReadDeadline(time.Now().Add(20 * time.Second))
	d.in, d.out = wire.NewReader(conn), wire.NewWriter(conn)
	done := make(chan struct{})
	go func() { // the worker judges a dispatcher that says nothing
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.out.Send(&wire.Ping{})
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	return d
}

// sh makes a task of shell text. Its number is the next.
func (d *desk) sh(text string, change ...func(*wire.Assign)) *wire.Assign {
	d.last++
	m := &wire.Assign{Ref: d.ref(d.last), Window: wire.MinWindow, Spec: task.Spec{Argv: []string{"sh", "-c", text}, Dir: d.dir}}
	for _, f := range change {
		f(m)
	}
	return m
}

func (d *desk) ref(n uint64) wire.Ref { return wire.Ref{Task: task.ID(n), Attempt: 1, Epoch: 1} }

// give sends tasks in one piece.
func (d *desk) give(list ...*wire.Assign) {
	for _, m := range list {
		d.out.Queue(m)
	}
	d.out.Flush()
}

// next returns the next thing that the worker says of a task, and notes it.
func (d *desk) next() wire.Message {
	d.Helper()
	for {
		m, err := d.in.Read()
		if err != nil {
			d.Fatalf("%v, after:\n%s", err, strings.Join(d.said, "\n"))
		}
		if line := see(m); line != "" {
			d.said = append(d.said, line)
			return m
		}
	}
}

func see(m wire.Message) string {
	switch m := m.(type) {
	case *wire.Started:
		return fmt.Sprint("started ", m.Task)
	case *wire.Result:
		if m.Err != nil {
			return fmt.Sprintf("result %d: %s", m.Task, m.Err.Message)
		}
		return fmt.Sprintf("result %d %s", m.Task, strings.TrimSpace(string(m.Stdout)))
	case *wire.Returned:
		if m.Lack != nil {
			return fmt.Sprintf("returned %d: %s", m.Task, m.Lack.Message)
		}
		return fmt.Sprint("returned ", m.Task)
	case *wire.Lost:
		return fmt.Sprintf("lost %d: %s", m.Task, m.Reason)
	case *wire.Drain:
		return "drain " + m.Reason
	case *wire.Goodbye:
		return "goodbye " + m.Text
	}
	return ""
}

// until reads on until the worker has said all that is wanted, each once.
func (d *desk) until(want ...string) {
	d.Helper()
	for _, w := range want {
		for !d.has(w) {
			d.next()
		}
	}
}

// has reports whether the worker has said something that begins so.
func (d *desk) has(want string) bool {
	for _, line := range d.said {
		if strings.HasPrefix(line, want) {
			return true
		}
	}
	return false
}

// gate makes a pipe that holds a task up: "cat NAME" ends when it is opened.
func (d *desk) gate(name string) (open func()) {
	path := fifo(d.T, d.dir, name)
	return func() { openFile(d.T, path, os.O_WRONLY).Close() }
}

// TestTasksBeginInTheirOrder, each in the slot that it is told of.
func TestTasksBeginInTheirOrder(t *testing.T) {
	d := newDesk(t, 1)
	var list []*wire.Assign
	for range 20 {
		list = append(list, d.sh("echo "+task.SlotMark+" $MUSTER_SLOT"))
	}
	d.give(list...)
	d.until("result 20 1 1")
	n := 0
	for _, line := range d.said {
		if strings.HasPrefix(line, "started ") {
			if n++; line != fmt.Sprint("started ", n) {
				t.Fatalf("%s came as number %d", line, n)
			}
		}
	}
	if n != 20 {
		t.Errorf("%d tasks have begun", n)
	}
}

// TestALongTaskHoldsNobodyUp: none of the tasks that came with it waits behind it
// while the other slot is free.
func TestALongTaskHoldsNobodyUp(t *testing.T) {
	for long := range 3 {
		d := newDesk(t, 2)
		open := d.gate("go")
		var list []*wire.Assign
		for i := range 8 {
			text := "sleep 0.01"
			if i == long {
				text = "cat go"
			}
			list = append(list, d.sh(text))
		}
		d.give(list...)
		for i := range 8 {
			if i != long {
				d.until(fmt.Sprintf("result %d ", i+1))
			}
		}
		open()
		d.until(fmt.Sprintf("result %d ", long+1))
	}
}

// TestRecall: what has not begun comes back, from wherever it is, and what has does
// not.
func TestRecall(t *testing.T) {
	d := newDesk(t, 1)
	open := d.gate("go")
	d.give(d.sh("cat go"), d.sh("exit 0"), d.sh("exit 0"), d.sh("exit 0"))
	d.until("started 1")
	for _, n := range []uint64{1, 2, 4} {
		d.out.Send(&wire.Recall{Ref: d.ref(n)})
	}
	d.until("returned 2", "returned 4")
	open()
	d.until("result 1 ", "result 3 ")
	if d.has("returned 1") || d.has("started 2") || d.has("started 4") {
		t.Errorf("it said:\n%s", strings.Join(d.said, "\n"))
	}
}

// TestCancel: wherever the task is, it resolves to what it was cancelled with.
func TestCancel(t *testing.T) {
	d := newDesk(t, 1)
	d.gate("go")
	d.give(d.sh("cat go"), d.sh("exit 0"), d.sh("exit 0"))
	d.until("started 1")
	for n := range uint64(3) {
		d.out.Send(&wire.Cancel{Ref: d.ref(3 - n), Err: task.Cancelled("")})
	}
	d.until("result 3: "+task.TextCancelled, "result 2: "+task.TextCancelled, "result 1: "+task.TextCancelled)
}

// TestOnlyAfterSuccess: when a task fails, those that were to run only after a
// success come back, and no others.
func TestOnlyAfterSuccess(t *testing.T) {
	d := newDesk(t, 2)
	first, second := d.gate("first"), d.gate("second")
	marked := func(m *wire.Assign) { m.OnlyAfterSuccess = true }
	d.give(d.sh("cat first; exit 3"), d.sh("cat second"))
	d.until("started 1", "started 2")
	d.give(d.sh("exit 0", marked), d.sh("exit 0", marked), d.sh("exit 0", marked), d.sh("exit 0"))
	first()
	d.until("result 1: exit status 3", "returned 3", "returned 4", "returned 5", "result 6 ")
	second()
	d.until("result 2 ")
}

// TestAnEverywhereRunsAlone, and what it leaves behind is there for all later tasks.
func TestAnEverywhereRunsAlone(t *testing.T) {
	d := newDesk(t, 2)
	open := d.gate("go")
	d.give(d.sh("cat go"),
		d.sh("", func(m *wire.Assign) { m.Spec.Everywhere, m.Spec.Argv = true, []string{"export KEPT=kept; cd /"} }),
		d.sh("echo $KEPT; pwd"), d.sh("echo $KEPT; pwd"), d.sh("echo $KEPT; pwd"))
	d.until("started 1")
	open()
	for n := 3; n <= 5; n++ {
		d.until(fmt.Sprintf("result %d kept\n/", n))
	}
	if got := strings.Join(d.said[:3], ", "); got != "started 1, result 1 , started 2" {
		t.Errorf("it began with %s", got)
	}
}

// TestASlotThatDies takes one task along and no other.
func TestASlotThatDies(t *testing.T) {
	d := newDesk(t, 1)
	open := d.gate("go")
	d.give(d.sh("cat go; kill -KILL $PPID; sleep 100"), d.sh("echo second"), d.sh("echo third"))
	d.until("started 1")
	open()
	d.until("lost 1: slot 1 of worker w died: signal: killed", "result 2 second", "result 3 third")
}

// TestAStoppedSlot is replaced, whatever its task does: each of these hung for ever.
func TestAStoppedSlot(t *testing.T) {
	d := newDesk(t, 3)
	stop := "kill -STOP $PPID; sleep 100"
	d.give(d.sh(stop), d.sh(stop, func(m *wire.Assign) { m.Spec.Timeout = 10 * time.Millisecond }), d.sh(stop))
	d.until("started 1", "started 2", "started 3")
	d.out.Send(&wire.Cancel{Ref: d.ref(3), Err: task.Cancelled("")})
	d.until("lost 1: slot ", "result 2: "+task.TextTimeout, "result 3: "+task.TextCancelled)
	if !strings.Contains(strings.Join(d.said, "\n"), " did not answer for 10s and was ended") {
		t.Errorf("it said:\n%s", strings.Join(d.said, "\n"))
	}
	d.give(d.sh("echo next"), d.sh("echo next"), d.sh("echo next"))
	d.until("result 4 next", "result 5 next", "result 6 next")
}

// script makes a program that is started in place of a slot; in it @slot becomes one.
func script(t *testing.T, text string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "slot")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "@slot", "exec "+exe)), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

// TestSlotsThatDoNotStart: the worker says that it can run nothing, at once, and does
// not start them without pause; when they can be started, it works.
func TestSlotsThatDoNotStart(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, 2, func(o *worker.Options) {
		o.SlotCommand = script(t, "echo >>"+dir+"/starts; test -e "+dir+"/well || exit 7; @slot")
	})
	for n := range 20 {
		d.give(d.sh("exit 0"))
		d.until(fmt.Sprintf("returned %d: its slots do not start: exit status 7", n+1))
	}
	starts, _ := os.ReadFile(dir + "/starts")
	if n := len(starts); n > 2*10 {
		t.Errorf("%d starts of two slots", n)
	}
	os.WriteFile(dir+"/well", nil, 0o600)
	for d.last++; !d.has("result"); d.last++ {
		d.give(d.sh("echo well"))
		for n := len(d.said); len(d.said) == n || strings.HasPrefix(d.said[len(d.said)-1], "started"); {
			d.next()
		}
	}
}

// TestAnswersDoNotWait for a heartbeat, which would send them: what the dispatcher
// gets back goes elsewhere, and what it cancels is waited for.
func TestAnswersDoNotWait(t *testing.T) {
	d := newDeskThatBeats(t, time.Hour, 1)
	open := d.gate("go")
	d.give(d.sh("cat go"), d.sh("exit 0"), d.sh("exit 0"), d.sh("exit 0"))
	d.until("started 1")
	d.out.Send(&wire.Cancel{Ref: d.ref(4), Err: task.Cancelled("")})
	d.until("result 4: " + task.TextCancelled)
	d.out.Send(&wire.Recall{Ref: d.ref(3)})
	d.until("returned 3")
	d.give(d.sh("", func(m *wire.Assign) { m.Spec.Func = "f" }))
	d.until("returned 5: this worker runs commands")
	d.out.Send(&wire.Drain{Reason: "enough"})
	d.until("returned 2")
	d.give(d.sh("exit 0"))
	d.until("returned 6")
	open()
	d.until("result 1 ")
}

// TestOneSlotThatDoesNotStart holds up none of the tasks.
func TestOneSlotThatDoesNotStart(t *testing.T) {
	d := newDesk(t, 2, func(o *worker.Options) {
		o.SlotCommand = script(t, "test $_MUSTER_SLOT = 1 && exit 1; @slot")
	})
	for n := range 10 {
		d.give(d.sh("echo $MUSTER_SLOT"))
		d.until(fmt.Sprintf("result %d 2", n+1))
	}
}

// TestWhatTheMachineLacks is no result: the task comes back with the reason.
func TestWhatTheMachineLacks(t *testing.T) {
	d := newDesk(t, 1)
	d.give(d.sh("exit 0", func(m *wire.Assign) { m.Spec.Dir = "/nowhere" }),
		d.sh("", func(m *wire.Assign) { m.Spec.Argv = []string{"nosuchprogram"} }),
		d.sh("", func(m *wire.Assign) { m.Spec.Func = "f" }),
		d.sh("echo well"))
	d.until("returned 1: cannot enter the working directory /nowhere: no such file", `returned 2: program "nosuchprogram" not found`,
		`returned 3: this worker runs commands, and has no function "f"`, "result 4 well")
	if d.has("started 1") || d.has("started 2") {
		t.Errorf("it said:\n%s", strings.Join(d.said, "\n"))
	}
}

// TestNoScratchFolder: a file stands where it is to be; and when that is gone, the
// worker works.
func TestNoScratchFolder(t *testing.T) {
	scratch := filepath.Join(t.TempDir(), "scratch")
	if err := os.WriteFile(scratch, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, 1, func(o *worker.Options) { o.Scratch = scratch })
	d.give(d.sh("exit 0"))
	d.until("returned 1: prepare a task: ")
	os.Remove(scratch)
	d.give(d.sh("echo well"))
	d.until("result 2 well")
}

// TestMaxTasks counts what has run, and not what came back.
func TestMaxTasks(t *testing.T) {
	d := newDesk(t, 1, func(o *worker.Options) { o.MaxTasks = 2 })
	d.give(d.sh("exit 0", func(m *wire.Assign) { m.Spec.Dir = "/nowhere" }))
	d.until("returned 1: ")
	d.give(d.sh("exit 0"), d.sh("exit 0"), d.sh("exit 0"))
	d.until("drain maxtasks", "returned 4", "result 2 ", "result 3 ", "goodbye task limit reached")
	if d.has("started 4") {
		t.Error("a third task has begun")
	}
}

// TestWhatTasksInherit is theirs: no descriptor of whoever started the worker, and
// not the worker's join file.
func TestWhatTasksInherit(t *testing.T) {
	var lock [2]int
	if err := syscall.Pipe(lock[:]); err != nil { // that stays open over exec
		t.Fatal(err)
	}
	defer syscall.Close(lock[0])
	defer syscall.Close(lock[1])
	t.Setenv("MUSTER_JOIN_FILE", "/secret")
	d := newDesk(t, 1)
	d.give(d.sh("for f in /dev/fd/*; do test -e $f && echo ${f##*/}; done; env | grep -c -e _MUSTER_ -e JOIN"))
	d.until("result 1: exit status 1")
	d.give(d.sh("for f in /dev/fd/*; do test -e $f && echo -n ${f##*/}' '; done; true"))
	d.until("result 2 0 1 2")
}
