package dispatcher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	mtls "muster/tls"
)

// TestNoSignsOfLife: a worker that answers nothing is hung up on in time,
// whatever else it says.
func TestNoSignsOfLife(t *testing.T) {
	nobodys := wire.Ref{Task: 99, Attempt: 1, Epoch: 7}
	for name, say := range map[string]func(p *mate, a *wire.Assign){
		"empty output of nobody's": func(p *mate, _ *wire.Assign) { p.Send(&wire.Output{Ref: nobodys, Stream: 1}) },
		"output of nobody's":       func(p *mate, _ *wire.Assign) { p.Send(&wire.Output{Ref: nobodys, Stream: 1, Data: []byte("x")}) },
		"empty output":             func(p *mate, a *wire.Assign) { p.Send(&wire.Output{Ref: a.Ref, Stream: 1}) },
		"a result of nobody's":     func(p *mate, _ *wire.Assign) { p.Send(&wire.Result{Ref: nobodys}) },
		"the same start":           func(p *mate, a *wire.Assign) { p.start(a) },
		"the same return":          func(p *mate, a *wire.Assign) { p.Send(&wire.Returned{Ref: a.Ref}) },
		"the same acknowledgement": func(p *mate, _ *wire.Assign) { p.Send(&wire.Ack{Received: 1}) },
		"its own pings":            func(p *mate, _ *wire.Assign) { p.Send(&wire.Ping{Seq: 1}) },
		"pongs of no ping":         func(p *mate, _ *wire.Assign) { p.Send(&wire.Pong{Seq: 1 << 40}) },
		"that it drains":           func(p *mate, _ *wire.Assign) { p.Send(&wire.Drain{Reason: "idletime"}) },
	} {
		t.Run(name, func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				p := w.mate(nil)
				w.submit("a")
				a := p.start(p.assigned())
				p.Send(&wire.Ack{Received: 1})
				p.mute.Store(true)
				p.deaf.Store(true)
				for range 3 * 10 {
					time.Sleep(dispatcher.DefaultHeartbeat / 5)
					if p.left() {
						return
					}
					say(p, a)
				}
				t.Error("it was not hung up on")
			})
		})
	}
}

// TestNoCreditForNobodysOutput, which would be kept until it is acknowledged.
func TestNoCreditForNobodysOutput(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		p := w.mate(nil)
		for _, data := range [][]byte{nil, []byte("x"), make([]byte, wire.MaxChunk)} {
			p.Send(&wire.Output{Ref: wire.Ref{Task: 99, Attempt: 1}, Stream: 1, Data: data})
			p.quiet()
		}
	})
}

// TestAnswerBehindOutput: on a slow link the answer to a ping waits behind all that
// the worker was allowed to say before it, and no longer.
func TestAnswerBehindOutput(t *testing.T) {
	const chunks, every = wire.MaxWindow / wire.MaxChunk, 10 * time.Second
	for _, with := range []struct{ lease, answer bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		leased(t, func(t *testing.T, w *world) {
			var p *peer
			if with.lease {
				p = w.mate(nil).peer
			} else {
				w.launch = mtls.NewLaunch("unleased", mtls.Terms{Uses: 1})
				w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
				p = w.worker(1)
			}
			w.submit("a")
			a := p.start(p.assigned())
			time.Sleep(dispatcher.DefaultHeartbeat)
			synctest.Wait()
			p.mute.Store(true)
			p.deaf.Store(true)
			answered, n := p.asked.Load(), 0
			for ; n < 2*chunks && !p.left(); n++ {
				for with.answer && n >= chunks && answered < p.asked.Load() {
					answered++
					p.Send(&wire.Pong{Seq: answered}, &wire.Ack{Received: p.received.Load()})
				}
				p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: make([]byte, wire.MaxChunk)})
				time.Sleep(every)
			}
			if most := chunks + int(5*dispatcher.DefaultHeartbeat/every) + 1; with.answer != (n == 2*chunks) || !with.answer && (n < chunks || n > most) {
				t.Errorf("%+v: hung up on after %d chunks, and %d were to come before the answer", with, n, chunks)
			}
		})
	}
}

// TestWorkWithoutAnswers is no life either: what a worker says of a task, or that
// it has it, shows that it has read the pings before it.
func TestWorkWithoutAnswers(t *testing.T) {
	for _, with := range []struct{ acks, mute bool }{{false, true}, {false, false}, {true, true}, {true, false}} {
		leased(t, func(t *testing.T, w *world) {
			p := w.mate(nil)
			p.mute.Store(with.mute)
			p.deaf.Store(with.mute && !with.acks)
			for range 10 {
				w.submit("a")
				if p.left() {
					break
				}
				p.finish(p.start(p.assigned()), nil)
				time.Sleep(dispatcher.DefaultHeartbeat)
			}
			if p.left() != with.mute {
				t.Errorf("%+v: hung up on: %v", with, !with.mute)
			}
		})
	}
}

// TestWorkerThatTakesNothing makes the dispatcher say more and more, and takes
// or acknowledges nothing of that.
func TestWorkerThatTakesNothing(t *testing.T) {
	t.Run("hands back what it is given", func(t *testing.T) {
		for _, acks := range []bool{true, false} {
			leased(t, func(t *testing.T, w *world) {
				p := w.mate(nil)
				w.submit("a")
				for n := uint64(1); n <= 3000 && !p.left(); n++ {
					p.Send(&wire.Returned{Ref: p.assigned().Ref})
					if acks && n%256 == 0 {
						p.Send(&wire.Ack{Received: n})
					}
				}
				if p.left() == acks {
					t.Errorf("acknowledges %v: hung up on: %v", acks, acks)
				}
				if n := w.connected(); n == 1 != acks {
					t.Errorf("acknowledges %v: %d workers", acks, n)
				}
			})
		}
	})
	t.Run("asks and does not listen", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			raw := w.l.dial()
			conn, _, err := w.greet(raw, w.hello(), w.launch.Token())
			if err != nil {
				t.Fatal(err)
			}
			out := wire.NewWriter(conn)
			for range 50_000 {
				if out.Queue(&wire.Ping{Seq: 1}); out.Flush() != nil {
					break
				}
			}
			if n := w.connected(); n != 0 {
				t.Errorf("%d workers", n)
			}
		})
	})
}
