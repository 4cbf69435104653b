package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	mtls "muster/tls"
)

// mate is a peer that can come back.
type mate struct {
	*peer
	h   *wire.Hello
	key mtls.SessionKey
}

// mate joins a worker with a lease, or has one come back that has lost nothing.
func (w *world) mate(last *mate) *mate {
	w.t.Helper()
	if last != nil {
		h := *last.h
		m, welcome, err := w.resume(last, &h, last.key)
		if err != nil || welcome.Refused != "" {
			w.t.Fatalf("the worker could not come back: %v %+v", err, welcome)
		}
		return m
	}
	h := w.hello()
	h.Lease = true
	raw := w.l.dial()
	conn, welcome, err := w.greet(raw, h, w.launch.Token())
	if err != nil || welcome.Refused != "" || welcome.Lease != lease {
		w.t.Fatalf("the worker was not admitted: %v %+v", err, welcome)
	}
	key, err := mtls.NewSessionKey(conn, h.ProofContext())
	if err != nil {
		w.t.Fatal(err)
	}
	m := &mate{newPeer(w.t, raw, conn, make(chan wire.Message, 10_000), 0), h, key}
	synctest.Wait()
	return m
}

// resume says the hello of a worker that comes back and has everything that it
// was sent.
func (w *world) resume(last *mate, h *wire.Hello, key mtls.SessionKey) (*mate, *wire.Welcome, error) {
	raw := w.l.dial()
	conn, err := mtls.Client(context.Background(), raw, w.id.Pin())
	if err != nil {
		return nil, nil, err
	}
	h.Resume = true
	if h.Received == 0 {
		h.Received = last.received.Load()
	}
	if h.Proof, err = key.Proof(conn, h.ResumeContext()); err != nil {
		return nil, nil, err
	}
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, nil, err
	}
	welcome := &wire.Welcome{}
	if err := wire.ReadHello(conn, welcome); err != nil {
		return nil, nil, err
	}
	if welcome.Refused != "" {
		raw.Close()
		return nil, welcome, nil
	}
	m := &mate{newPeer(w.t, raw, conn, last.in, h.Received), last.h, last.key}
	synctest.Wait()
	return m, welcome, nil
}

// TestStrangersDoNotDisturb: whoever does not know the session's key is refused,
// and the worker whose it is stays or comes back.
func TestStrangersDoNotDisturb(t *testing.T) {
	for _, away := range []bool{false, true} {
		for _, c := range []struct {
			name string
			make func(m *mate, h *wire.Hello) mtls.SessionKey
			want string
		}{
			{"another key", func(*mate, *wire.Hello) mtls.SessionKey { return mtls.SessionKey{1} }, "not the one that is known here"},
			{"another element", func(m *mate, h *wire.Hello) mtls.SessionKey { h.Element = "else"; return m.key }, "its session is over"},
			{"another launch", func(m *mate, h *wire.Hello) mtls.SessionKey { h.Launch = "else"; return m.key }, "its session is over"},
			{"another restart", func(m *mate, h *wire.Hello) mtls.SessionKey { h.Restart = 3; return m.key }, "its session is over"},
			{"another protocol", func(m *mate, h *wire.Hello) mtls.SessionKey { h.MinVersion = 99; return m.key }, "version mismatch"},
		} {
			t.Run(fmt.Sprintf("%s %v", c.name, away), func(t *testing.T) {
				leased(t, func(t *testing.T, w *world) {
					m := w.mate(nil)
					w.submit("a")
					a := m.start(m.assigned())
					synctest.Wait()
					if away {
						m.raw.Close()
						synctest.Wait()
					}
					h := *m.h
					_, welcome, err := w.resume(m, &h, c.make(m, &h))
					if err != nil || !strings.Contains(welcome.Refused, c.want) || welcome.Later {
						t.Fatalf("%v %+v", err, welcome)
					}
					if away {
						m = w.mate(m)
					}
					m.finish(a, nil)
					w.expect("1:ok.1")
				})
			})
		}
	}
}

// TestComesBackTooOften: a worker whose connections break all the time is let back in at
// a rate, keeps its session and what it runs, and is back when it waits.
func TestComesBackTooOften(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		w.submit("a")
		a := m.start(m.assigned())
		refused := 0
		for range 200 {
			h := *m.h
			next, welcome, err := w.resume(m, &h, m.key)
			switch {
			case err != nil:
				t.Fatal(err)
			case next != nil:
				m = next
			case !welcome.Later || !strings.Contains(welcome.Refused, "comes too often"):
				t.Fatalf("refused: %+v", welcome)
			default:
				refused++
			}
		}
		if refused < 100 {
			t.Errorf("of 200 times %d are refused", refused)
		}
		m.raw.Close()
		time.Sleep(2 * time.Second)
		m = w.mate(m)
		m.finish(a, nil)
		w.expect("1:ok.1")
	})
}

// TestNoLeaseNoResume: a session without a lease has no key that could be known.
func TestNoLeaseNoResume(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		h := w.hello()
		h.Element = "w1"
		_, welcome, err := w.resume(&mate{peer: p, h: h}, h, mtls.SessionKey{})
		if err != nil || !strings.Contains(welcome.Refused, "its session is over") || p.left() {
			t.Errorf("%v %+v", err, welcome)
		}
	})
}

// TestStrangerWithTheToken is not let in while a worker of its name is away.
func TestStrangerWithTheToken(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		w.submit("a")
		a := m.start(m.assigned())
		synctest.Wait()
		m.raw.Close()
		synctest.Wait()
		h := *m.h
		if _, welcome, err := w.greet(w.l.dial(), &h, w.launch.Token()); err != nil || !welcome.Later || !strings.Contains(welcome.Refused, "same identity") {
			t.Errorf("%v %+v", err, welcome)
		}
		m = w.mate(m)
		m.finish(a, nil)
		w.expect("1:ok.1")
		m.raw.Close()
		synctest.Wait()
		h.Restart = 1 // a requeued job
		if _, welcome, err := w.greet(w.l.dial(), &h, w.launch.Token()); err != nil || welcome.Refused != "" {
			t.Errorf("%v %+v", err, welcome)
		}
		if n := w.connected(); n != 1 {
			t.Errorf("%d workers", n)
		}
	})
}

// TestWelcomeLost: a worker that has not heard that it was let in asks again,
// and is, as the one it is.
func TestWelcomeLost(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		h := w.hello()
		h.Lease = true
		raw := w.l.dial()
		if _, _, err := w.greet(raw, h, w.launch.Token()); err != nil {
			t.Fatal(err)
		}
		raw.Close()
		synctest.Wait()
		if _, welcome, err := w.greet(w.l.dial(), h, w.launch.Token()); err != nil || welcome.Refused != "" {
			t.Errorf("%v %+v", err, welcome)
		}
		if n := w.connected(); n != 1 {
			t.Errorf("%d workers", n)
		}
	})
}

func TestHelloIsNotReplayed(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		m.raw.Close()
		synctest.Wait()
		h := *m.h
		back, welcome, err := w.resume(m, &h, m.key)
		if err != nil || welcome.Refused != "" {
			t.Fatalf("%v %+v", err, welcome)
		}
		conn, err := mtls.Client(context.Background(), w.l.dial(), w.id.Pin())
		if err != nil {
			t.Fatal(err)
		}
		wire.WriteHello(conn, &h) // what somebody overheard who can read TLS
		answer := &wire.Welcome{}
		if err := wire.ReadHello(conn, answer); err != nil || answer.Refused == "" {
			t.Errorf("%v %+v", err, answer)
		}
		if back.left() {
			t.Error("the worker was hung up on")
		}
	})
}

// TestHalfOpen: the worker comes back before the dispatcher has noticed that it
// was gone.
func TestHalfOpen(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		w.submit("a")
		a := m.start(m.assigned())
		synctest.Wait()
		m.raw.partition()
		began := time.Now()
		m = w.mate(m)
		if time.Since(began) > time.Second {
			t.Errorf("it had to wait for %v", time.Since(began))
		}
		m.finish(a, nil)
		w.expect("1:ok.1")
		if n, ever, _ := w.d.Workers(); n != 1 || ever != 1 {
			t.Errorf("%d workers of %d ever", n, ever)
		}
	})
}

func TestImpossibleCountsAreRefused(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		m.raw.Close()
		synctest.Wait()
		h := *m.h
		h.Received = 1000
		if _, welcome, err := w.resume(m, &h, m.key); err != nil || welcome.Refused == "" || welcome.Later {
			t.Errorf("%v %+v", err, welcome)
		}
		m = w.mate(m)
		m.Send(&wire.Ack{Received: 1000})
		if !m.left() {
			t.Error("it was not hung up on")
		}
		if n := w.connected(); n != 0 {
			t.Errorf("%d workers", n)
		}
	})
}

// TestFramesAreAcknowledged when there are many, and with a heartbeat.
func TestFramesAreAcknowledged(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		stale := &wire.Started{Ref: wire.Ref{Task: 99}}
		for range 300 {
			m.Send(stale)
		}
		synctest.Wait()
		if n := m.acked.Load(); n < 200 || n > 300 {
			t.Errorf("%d of 300 frames are acknowledged", n)
		}
		time.Sleep(dispatcher.DefaultHeartbeat)
		synctest.Wait()
		if n := m.acked.Load(); n != 300 {
			t.Errorf("after a heartbeat, %d of 300 frames are acknowledged", n)
		}
	})
}

// TestWhoNeverAcknowledgesIsHungUpOn: what it is sent would be kept for ever.
func TestWhoNeverAcknowledgesIsHungUpOn(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		leased(t, func(t *testing.T, w *world) {
			m := w.mate(nil)
			m.deaf.Store(deaf)
			w.submit("a")
			m.start(m.assigned())
			time.Sleep(5 * dispatcher.DefaultHeartbeat)
			if m.left() != deaf {
				t.Errorf("deaf %v: hung up on: %v", deaf, !deaf)
			}
		})
	}
}

// TestMalformedFramesEndTheSession: they would come again on every connection.
func TestMalformedFramesEndTheSession(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		io.WriteString(m.conn, "\x00\x00\x00\x02\xf0\x01")
		if !m.left() {
			t.Error("it was not hung up on")
		}
		if n := w.connected(); n != 0 {
			t.Errorf("%d workers", n)
		}
	})
}

// TestNoLeaseWithoutBoth: a worker that knows of no lease, or a launch that
// grants none.
func TestNoLeaseWithoutBoth(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		granted := []time.Duration{}
		for _, knows := range []bool{true, false} {
			for _, d := range []time.Duration{0, time.Hour} {
				l := mtls.NewLaunch(fmt.Sprint(knows, d), mtls.Terms{Uses: 1})
				w.d.AddLaunch(l, dispatcher.LaunchOptions{Lease: d})
				h := w.hello()
				h.Launch, h.Lease = l.ID(), knows
				raw := w.l.dial()
				_, welcome, err := w.greet(raw, h, l.Token())
				if err != nil || welcome.Refused != "" {
					t.Fatalf("%v %+v", err, welcome)
				}
				granted = append(granted, welcome.Lease)
				before := w.connected()
				raw.Close()
				if stays := w.connected() == before; stays != (welcome.Lease > 0) {
					t.Errorf("with a lease of %v the worker is still counted: %v", welcome.Lease, stays)
				}
			}
		}
		if !slices.Equal(granted, []time.Duration{0, time.Hour, 0, 0}) {
			t.Errorf("granted %v", granted)
		}
	})
}

// TestOnceTakesNobodysPlace: where each identity is let in once, whoever has read the
// token is refused whatever they say, and the worker goes on: over its connection, and
// over another one by its session's key.
func TestOnceTakesNobodysPlace(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		w.launch = mtls.NewLaunch("sent", mtls.Terms{Uses: 1, Once: true})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Lease: lease})
		m := w.mate(nil)
		refused := func(when string) {
			t.Helper()
			for element, want := range map[string]string{m.h.Element: "admits each once", "another": "as many workers as it may"} {
				for _, restart := range []uint32{0, 1, 1<<32 - 1} {
					for _, lease := range []bool{false, true} {
						h := *m.h
						h.Element, h.Restart, h.Lease = element, restart, lease
						_, welcome, err := w.greet(w.l.dial(), &h, w.launch.Token())
						if err != nil || welcome.Later || !strings.Contains(welcome.Refused, want) || !strings.Contains(welcome.Refused, "`muster launch") {
							t.Errorf("%s, %s with restart %d: %v %+v", when, element, restart, err, welcome)
						}
					}
				}
			}
		}
		w.submit("a")
		a := m.start(m.assigned())
		synctest.Wait()
		refused("while it is connected")
		m.raw.Close()
		synctest.Wait()
		if s := w.state(0); s != "away" {
			t.Fatalf("its connection has broken, and it is %s", s)
		}
		refused("while it is away")
		m = w.mate(m)
		refused("when it is back")
		m.finish(a, nil)
		w.expect("1:ok.1")
		m.Send(&wire.Goodbye{})
		synctest.Wait()
		m.raw.Close()
		synctest.Wait()
		if n := w.connected(); n != 0 {
			t.Fatalf("%d workers", n)
		}
		refused("when it has left")
	})
}

// TestOnceComesBack: a worker whose links break comes back to its session, though
// its token lets nobody in any more.
func TestOnceComesBack(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		w.launch = mtls.NewLaunch("sent", mtls.Terms{Uses: 1, Once: true, Until: time.Now().Add(time.Minute)})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Lease: lease})
		k := w.crew(1)
		f := w.call("wait", "x 100")
		for range 3 {
			k.cut()
			time.Sleep(time.Minute)
			if s := w.state(0); s != "away" {
				t.Errorf("the worker is %s", s)
			}
			k.mend()
			if s := w.state(0); s == "away" || w.d.Info().Connections != 1 {
				t.Errorf("the worker is %s: %+v", s, w.d.Info())
			}
		}
		k.open("x 100")
		w.came(f, "x 100", 1)
		late := w.crew(1)
		if err := <-late.gone; err == nil || !strings.Contains(err.Error(), "has expired") {
			t.Errorf("another, later: %v", err)
		}
	})
}

// TestOnceWelcomeLost: a worker that has not heard that it was let in is let in when it
// asks again, with a lease and without.
func TestOnceWelcomeLost(t *testing.T) {
	for _, lease := range []time.Duration{0, lease} {
		leased(t, func(t *testing.T, w *world) {
			w.launch = mtls.NewLaunch("sent", mtls.Terms{Uses: 1, Once: true})
			w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Lease: lease})
			h := w.hello()
			h.Lease = true
			for range 3 {
				raw := w.l.dial()
				if _, welcome, err := w.greet(raw, h, w.launch.Token()); err != nil || welcome.Refused != "" {
					t.Errorf("%v %+v", err, welcome)
				}
				raw.Close()
				synctest.Wait()
			}
		})
	}
}
