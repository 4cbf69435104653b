package dispatcher_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/internal/testbed"
	"muster/internal/wire"
)

// TestFullDisk: it fails no task. What runs waits for credit, nothing new starts, it
// is said once, and all goes on when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	testbed.Tmpfs(t, dir, "4m")
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 4<<20-100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	var told said
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(1)
		w.submit("big", "small", "next", "last")
		a, b := p.start(p.assigned()), q.start(q.assigned())
		chunk, window, sent := make([]byte, wire.MaxChunk), int(a.Window), 0
		send := func() {
			for window >= len(chunk) {
				p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: chunk})
				window, sent = window-len(chunk), sent+len(chunk)
				for m := p.next(); m != nil; m = p.next() {
					window += int(m.(*wire.Credit).Bytes)
				}
			}
		}
		send()
		if sent > 8*wire.MinWindow {
			t.Fatalf("%d bytes came although the disk was full", sent)
		}
		q.finish(b, nil)
		w.expect("2:ok.1") // a small one needs no disk
		q.quiet()
		time.Sleep(time.Hour)
		q.quiet()
		if lines := told.all(); len(lines) != 1 || !strings.Contains(lines[0], "no space left on device") || !strings.Contains(lines[0], dir) ||
			!strings.Contains(lines[0], "nothing new is started") {
			t.Errorf("it was said: %q", lines)
		}

		if why := w.d.Status().Paused; why != "the disk is full at "+dir {
			t.Errorf("its status says %q", why)
		}

		os.Remove(hog)
		time.Sleep(5 * time.Second)
		if why := w.d.Status().Paused; why != "" {
			t.Errorf("there is room, and its status says %q", why)
		}
		for m := p.next(); m != nil; m = p.next() {
			window += int(m.(*wire.Credit).Bytes)
		}
		if window < wire.MinWindow {
			t.Errorf("with room again there is credit for %d bytes", window)
		}
		if n := len(told.all()); n != 2 {
			t.Errorf("it was said: %q", told.all())
		}
		q.finish(q.start(q.assigned()), nil)
		p.finish(a, nil)
		synctest.Wait()
		done, _ := w.b.Take()
		for _, d := range done {
			if d.Err != nil {
				t.Errorf("task %d failed: %v", d.Index, d.Err)
			}
			r, err := d.Output.Reader(1)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			r.Close()
			if d.Index == 1 && n != int64(sent)+3 || err != nil {
				t.Errorf("%d bytes of %d, %v", n, sent+3, err)
			}
			d.Release()
		}
		if len(done) != 2 {
			t.Errorf("%d results", len(done))
		}
	}, func(o *options, _ *dispatcher.RunOptions) {
		o.Spool, o.Say = spool.Open(dir), told.say
	})
}

// TestFullDiskAndResultsToPark: they stay in memory, and go to the disk later.
func TestFullDiskAndResultsToPark(t *testing.T) {
	dir := t.TempDir()
	testbed.Tmpfs(t, dir, "2m")
	hog := filepath.Join(dir, "hog")
	os.WriteFile(hog, make([]byte, 3<<20), 0o600) // as much as there is room for
	var told said
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.put("a")
		p.work()
		later := w.put("b")
		w.is(f, 0, "a")
		p.quiet()
		time.Sleep(time.Minute)
		p.quiet()
		os.Remove(hog)
		time.Sleep(5 * time.Second)
		p.work()
		w.is(later, 0, "b")
		done, _, _ := f.Result(0)
		if done.Output.Memory() != 0 || len(told.all()) != 2 {
			t.Errorf("%d bytes in memory; it was said %q", done.Output.Memory(), told.all())
		}
	}, func(o *options, _ *dispatcher.RunOptions) {
		o.Spool, o.Say, o.Keep = spool.Open(dir), told.say, -1
	})
}
