package dispatcher_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// What a worker says is not to be trusted: whatever comes, and in whatever order,
// the dispatcher goes on, and the task goes its way.

func TestFramesInAnyOrder(t *testing.T) {
	started := func(r task.Ref) wire.Message { return &wire.Started{Ref: r, Slot: 1<<32 - 1} }
	output := func(r task.Ref) wire.Message { return &wire.Output{Ref: r, Stream: 1, Data: []byte("x")} }
	result := func(r task.Ref) wire.Message { return &wire.Result{Ref: r, Elapsed: 1<<63 - 1} }
	died := func(r task.Ref) wire.Message { return &wire.Result{Ref: r, Err: killed, Stdout: []byte("y")} }
	back := func(r task.Ref) wire.Message { return &wire.Returned{Ref: r} }
	lack := func(r task.Ref) wire.Message { return &wire.Returned{Ref: r, Lack: noDirectory} }
	lost := func(r task.Ref) wire.Message { return &wire.Lost{Ref: r, Reason: "it is gone"} }
	drain := func(task.Ref) wire.Message { return &wire.Drain{Reason: "SIGTERM"} }
	all := []func(task.Ref) wire.Message{started, output, result, died, back, lack, lost, drain}
	var outputs *spool.Dir
	bubble(t, func(t *testing.T, w *world) {
		for _, sync := range []bool{false, true} {
			w.launch = mtls.NewLaunch(fmt.Sprint(sync), mtls.Terms{Uses: 1000})
			w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
			for i := range len(all) * len(all) * len(all) {
				said := []func(task.Ref) wire.Message{all[i%8], all[i/8%8], all[i/64]}
				var f *dispatcher.Future
				if sync {
					f, _ = w.d.Everywhere(task.Spec{Argv: []string{"a"}, Dir: "/a"}, 1)
				} else {
					f, _ = w.d.Submit(context.Background(), task.Spec{Argv: []string{"a"}, Dir: "/a"}, dispatcher.FutureOptions{})
				}
				p := w.worker(1)
				a := p.assigned()
				for _, say := range said {
					p.Send(say(a.Ref))
				}
				synctest.Wait()
				if i%2 == 0 {
					f.Cancel(task.Cancelled(""))
				}
				p.raw.Close()
				synctest.Wait()
				time.Sleep(dispatcher.DefaultHold)
				f.Cancel(task.Cancelled(""))
				synctest.Wait()
				if s := f.Status(); s.State != "resolved" || s.Resolved != 1 {
					t.Fatalf("after frames %o: %+v", i, s)
				}
				done, _, _ := f.Result(0)
				if r, err := done.Output.Reader(1); err != nil {
					t.Errorf("after frames %o: output: %v", i, err)
				} else {
					r.Close()
				}
				w.door.Forget(f)
				synctest.Wait()
				if memory, disk := outputs.Usage(); memory+disk != 0 {
					t.Fatalf("after frames %o: %d bytes of output are left", i, memory+disk)
				}
			}
		}
		if info := w.d.Info(); info.Awaiting+info.Executing+info.Connections != 0 {
			t.Errorf("%+v", info)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { outputs = o.Spool })
}

// What a worker says that it lacks is said and shown in bounds, however much it says.
func TestLacksWithoutEnd(t *testing.T) {
	s := &said{}
	bubble(t, func(t *testing.T, w *world) {
		const tasks = 200
		n := 0
		for i := range tasks {
			if _, err := w.d.Submit(context.Background(), task.Spec{Argv: []string{"a"}, Dir: fmt.Sprint("/", i)}, dispatcher.FutureOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		given := w.worker(1).works(0, func(a *wire.Assign) *task.Lack {
			n++
			words := strings.Repeat("x\ny", 20_000)
			return &task.Lack{Kind: task.LackDirectory, Code: 126, Message: fmt.Sprint(n, words), Evidence: words}
		})
		time.Sleep(5 * time.Second)
		if given() < tasks {
			t.Fatalf("only %d of %d tasks were sent", given(), tasks)
		}
		lines := s.all()
		lines = append(lines, w.d.Status().Workers[0].Lacks...)
		if len(lines) > 40 {
			t.Errorf("%d lines are said and shown", len(lines))
		}
		time.Sleep(2 * time.Minute)
		for _, f := range w.door.Futures() {
			done, _, _ := f.Result(0)
			if done == nil || done.Err == nil {
				t.Fatalf("future %d: %+v", f.ID(), done)
			}
			lines = append(lines, done.Err.Message)
			if n := len(done.Err.Evidence); n > 20_000 {
				t.Fatalf("%d bytes of evidence are kept", n)
			}
		}
		for _, line := range lines {
			if len(line) > 2000 || strings.Contains(line, "\n") {
				t.Fatalf("a line of %d bytes: %.100q", len(line), line)
			}
		}
	}, saying(s))
}

// TestFramesWithoutEnd: what a worker says beyond its tasks is handled at a pace, known
// frames and others. It is not hung up on for that, and nobody else waits.
func TestFramesWithoutEnd(t *testing.T) {
	const atOnce, aSecond, n = 40_000, 20_000, 200_000
	unknown := append(binary.BigEndian.AppendUint32(nil, 2), 200, 0)
	for name, flood := range map[string]func(p *peer){
		"answers": func(p *peer) { p.Queue(&wire.Pong{Seq: 1 << 40}) },
		"results": func(p *peer) { p.Queue(&wire.Result{Ref: task.Ref{Task: 9, Attempt: 9, Epoch: 9}}) },
		"unknown": nil,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p, q := w.worker(1), w.worker(1)
				w.submit("a", "b")
				a, b := p.start(p.assigned()), q.start(q.assigned())
				began := time.Now()
				if flood == nil {
					p.mute.Store(true) // nobody else writes
					p.deaf.Store(true)
					go func() {
						p.conn.Write(bytes.Repeat(unknown, n))
						p.finish(a, nil)
					}()
				} else {
					for range n {
						flood(p)
					}
					go p.finish(a, nil)
				}
				synctest.Wait()
				q.finish(b, nil)
				w.expect(fmt.Sprintf("%d:ok.1", b.Task))
				_, _, changed := w.d.Workers()
				for w.b.Queued() > 0 && time.Since(began) < time.Minute {
					<-changed
					_, _, changed = w.d.Workers()
				}
				took, want := time.Since(began), time.Second*(n-atOnce)/aSecond
				if took < want-want/10 || took > want+want/10 || p.left() {
					t.Errorf("%d frames took %v, not %v", n, took, want)
				}
			})
		})
	}
}

// TestManyShortTasksWaitForNothing: the pace is for what is said beyond tasks.
func TestManyShortTasksWaitForNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 25_000
		given := w.worker(64).works(0, healthy)
		began := time.Now()
		rows := make([]string, n)
		w.submit(rows...)
		synctest.Wait()
		if took := time.Since(began); given() != n || took > 0 {
			t.Errorf("%d of %d tasks took %v", given(), n, took)
		}
	})
}

// TestWordsOfAWorker reach neither log nor status with anything that a terminal obeys.
func TestWordsOfAWorker(t *testing.T) {
	const evil = "\x1b]0;x\x07\u009b31m\r\nmuster: 1 task: 1 ok\u202e\xff"
	var log bytes.Buffer
	bubble(t, func(t *testing.T, w *world) {
		h := w.hello()
		h.Host, h.Build = evil+strings.Repeat("h", 1000), evil
		raw := w.l.dial()
		conn, welcome, err := w.greet(raw, h, w.launch.Token())
		if err != nil || welcome.Refused != "" {
			t.Fatalf("%v %+v", err, welcome)
		}
		p := newPeer(t, raw, conn, make(chan wire.Message, 10), 0)
		w.submit("a", "b")
		p.Send(&wire.Lost{Ref: p.assigned().Ref, Reason: evil})
		p.Send(&wire.Lost{Ref: p.assigned().Ref, Reason: evil})
		synctest.Wait()
		p.Send(&wire.Drain{Reason: evil}, &wire.Goodbye{Text: evil})
		p.left()
		h = w.hello()
		h.Version, h.MinVersion, h.Build = 99, 99, evil
		if _, welcome, err := w.greet(w.l.dial(), h, w.launch.Token()); err != nil || !strings.Contains(welcome.Refused, "version mismatch") {
			t.Errorf("%v %+v", err, welcome)
		}
		synctest.Wait()
		words := log.String() + welcome.WorkerID
		done, _ := w.b.Take()
		for _, d := range done {
			words += d.Worker + d.Err.Message + d.Err.Evidence
		}
		if !strings.Contains(words, "31m?") || len(done) == 0 {
			t.Errorf("nothing of it was said: %q", words)
		}
		if i := strings.IndexFunc(words, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) || r == utf8.RuneError }); i >= 0 {
			t.Errorf("%q", words[max(0, i-100):])
		}
		for line := range strings.Lines(words) {
			if strings.HasPrefix(line, "muster:") || len(line) > 2000 {
				t.Errorf("a line of %d bytes: %.100q", len(line), line)
			}
		}
	}, func(o *options, _ *dispatcher.RunOptions) {
		o.LostRetries = 0
		o.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
	})
}

// TestClocksDiffer: what a worker takes the time for changes nothing but what is shown.
func TestClocksDiffer(t *testing.T) {
	for _, skew := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		bubble(t, func(t *testing.T, w *world) {
			w.launch = mtls.NewLaunch("short", mtls.Terms{Uses: 9, Until: time.Now().Add(time.Hour)})
			w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
			p := w.worker(1)
			w.submit("a")
			a := p.start(p.assigned())
			p.Send(&wire.Result{Ref: a.Ref, Started: time.Now().Add(skew), Elapsed: time.Second})
			w.expect("1:ok.1")
			time.Sleep(time.Hour - time.Second)
			w.worker(1)
			time.Sleep(2 * time.Second)
			h := w.hello()
			if _, welcome, err := w.greet(w.l.dial(), h, w.launch.Token()); err != nil || !strings.Contains(welcome.Refused, "has expired") {
				t.Errorf("%v %+v", err, welcome)
			}
		})
	}
}

// FuzzWorker has a worker that has joined, and has a task, say anything: another one does
// that task, unless the first says that it has ended. Goroutines make it run other lines
// each time for the same words: it wants -fuzzminimizetime 1x.
func FuzzWorker(f *testing.F) {
	ref := task.Ref{Task: 1, Attempt: 1, Epoch: 1}
	for _, list := range [][]wire.Message{
		{&wire.Started{Ref: ref, Slot: 1}, &wire.Output{Ref: ref, Stream: 2, Data: []byte("x")}, &wire.Result{Ref: ref, Err: killed}},
		{&wire.Returned{Ref: ref, Lack: noDirectory}}, {&wire.Returned{Ref: ref}}, {&wire.Lost{Ref: ref, Reason: "gone"}},
		{&wire.Drain{Reason: "SIGTERM"}, &wire.Goodbye{Code: 2, Text: "walltime"}}, {&wire.Ping{Seq: 1}, &wire.Pong{Seq: 1}, &wire.Ack{Received: 1}},
		{&wire.Result{Ref: ref, State: &wire.State{Env: []string{"A=1"}, Dir: "/"}}}, {&wire.Credit{Ref: ref, Bytes: 1 << 31}, &wire.Recall{Ref: ref}},
	} {
		var b bytes.Buffer
		wire.NewWriter(&b).Send(list...)
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 3, 1})
	f.Fuzz(func(t *testing.T, says []byte) {
		leased(t, func(t *testing.T, w *world) {
			if len(says) > 64<<10 {
				return
			}
			m := w.mate(nil)
			w.submit("a")
			m.assigned()
			m.conn.Write(says)
			synctest.Wait()
			m.raw.Close()
			w.worker(1).works(0, healthy)
			time.Sleep(2 * lease)
			synctest.Wait()
			if n := w.b.Queued(); n != 0 {
				t.Errorf("%d tasks have not ended", n)
			}
		})
	})
}
