package dispatcher_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/share"
	"muster/task"
)

func spreading(o *options, _ *dispatcher.RunOptions) { o.Spread = true }

var noShare = &task.Lack{Kind: task.LackShare, Code: 126, Message: "cannot read the share s: it is elsewhere"}

// sharing submits a task that needs a share.
func (w *world) sharing(seg *share.Segment) *dispatcher.Future {
	w.t.Helper()
	spec := task.Spec{Argv: []string{"reads"}, Shares: []task.Share{{Name: "s", Ref: seg.Ref().String(), Needed: true}}}
	f, err := w.d.Submit(context.Background(), spec, dispatcher.FutureOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// pieces returns how many bytes of shares the peer has been sent.
func (p *peer) pieces() (n int) {
	p.t.Helper()
	for m := p.next(); m != nil; m = p.next() {
		s, ok := m.(*wire.Share)
		if !ok {
			p.t.Fatalf("got %#v, not a share", m)
		}
		n += len(s.Data)
	}
	return n
}

func segment(t *testing.T, bytes int) *share.Segment {
	t.Helper()
	seg, err := share.Put(make([]byte, bytes))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seg.Close() })
	return seg
}

// A worker is sent a share within its window, once, and works meanwhile; the task costs
// no try.
func TestSpread(t *testing.T) {
	const size = 5<<19 + 1
	seg := segment(t, size)
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.sharing(seg)
		p.Send(&wire.Returned{Ref: p.assigned().Ref, Lack: noShare})
		if n := p.pieces(); n != wire.ShareWindow {
			t.Fatalf("%d bytes have come before any was acknowledged", n)
		}
		w.put("other")
		p.work()
		time.Sleep(9 * time.Second) // and heartbeats pass; no probe does yet
		synctest.Wait()
		p.Send(&wire.Shared{ID: seg.Ref().ID, Bytes: 1 << 19})
		if n := p.pieces(); n != 1<<19 {
			t.Fatalf("%d bytes have come after half a window", n)
		}
		p.Send(&wire.Shared{ID: seg.Ref().ID, Bytes: 3 << 19})
		if n := p.pieces(); n != wire.ShareWindow {
			t.Fatalf("%d bytes have come after all had", n)
		}
		p.Send(&wire.Shared{ID: seg.Ref().ID, Bytes: 5 << 19})
		if n := p.pieces(); n != 1 {
			t.Fatalf("%d bytes were the rest", n)
		}
		w.is(f, 0, "unresolved")
		p.Send(&wire.Shared{ID: seg.Ref().ID, Bytes: size, Done: true})
		p.work()
		w.is(f, 0, "reads")
		w.sharing(seg)
		p.work()
		w.d.Unshare(seg.Ref().String())
		if m, ok := p.next().(*wire.Unshare); !ok || m.ID != seg.Ref().ID {
			t.Errorf("got %+v, not that the copy is wanted no more", m)
		}
	}, spreading)
}

// Whatever a worker says of a copy, the task comes to an end, and nothing is left.
func TestSpreadFails(t *testing.T) {
	seg := segment(t, 3<<20)
	id := seg.Ref().ID
	for name, c := range map[string]struct {
		say  func(w *world, p *peer)
		left bool   // the worker is hung up on
		want string // what the task resolves to
	}{
		"no room":                  {say: func(w *world, p *peer) { p.Send(&wire.Shared{ID: id, Err: "no\x1b room"}) }, want: "126 | host has no copy of it: no? room"},
		"more than was sent":       {say: func(w *world, p *peer) { p.Send(&wire.Shared{ID: id, Bytes: 2 << 20}) }, left: true},
		"less than it had":         {say: func(w *world, p *peer) { p.Send(&wire.Shared{ID: id, Bytes: 9}, &wire.Shared{ID: id, Bytes: 8}) }, left: true},
		"all, which it cannot":     {say: func(w *world, p *peer) { p.Send(&wire.Shared{ID: id, Bytes: 1 << 20, Done: true}) }, left: true},
		"a share that is nobody's": {say: func(w *world, p *peer) { p.Send(&wire.Shared{ID: "x", Bytes: 1, Done: true}) }},
		"the end":                  {say: func(w *world, p *peer) { p.raw.Close() }, left: true},
		"nothing, and it is over":  {say: func(w *world, p *peer) { w.d.Unshare(seg.Ref().String()) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := w.worker(1)
				f := w.sharing(seg)
				p.Send(&wire.Returned{Ref: p.assigned().Ref, Lack: noShare})
				p.pieces()
				c.say(w, p)
				if p.left() != c.left {
					t.Errorf("hung up on: %v", !c.left)
				}
				if c.want != "" {
					p.Send(&wire.Returned{Ref: p.assigned().Ref, Lack: noShare})
					time.Sleep(2 * time.Second)
					w.is(f, 0, c.want)
				}
				f.Cancel(task.Cancelled(""))
			}, spreading)
		})
	}
}

// Where nothing is spread, the task fails at once, and the error says what helps.
func TestNoSpread(t *testing.T) {
	seg := segment(t, 1)
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.sharing(seg)
		p.Send(&wire.Returned{Ref: p.assigned().Ref, Lack: noShare})
		time.Sleep(2 * time.Second)
		w.is(f, 0, "126 | "+noShare.Message+"; spread = true in the profile sends a copy there")
	})
}

// TestSharesAreShownAsTheyAreWritten: no status and no result has a share's mark, of a
// task that has never begun either.
func TestSharesAreShownAsTheyAreWritten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		spec := task.Spec{Argv: []string{"cat", task.ShareMark("s")}, Shares: []task.Share{{Name: "s", Ref: "{}", Needed: true}}}
		f, err := w.d.Submit(context.Background(), spec, dispatcher.FutureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"cat", "{share:s}"}
		if got := f.Status().Argv; !slices.Equal(got, want) {
			t.Errorf("status: %q", got)
		}
		f.Cancel(task.Cancelled(""))
		synctest.Wait()
		if done, _, _ := f.Result(0); done == nil || !slices.Equal(done.Argv, want) {
			t.Errorf("result: %+v", done)
		}
	})
}
