package dispatcher_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	mtls "muster/tls"
)

func TestAFailingAcceptIsSaidAndOvercome(t *testing.T) {
	var s said
	bubble(t, func(t *testing.T, w *world) {
		for range 20 {
			w.l.conns <- nil
		}
		w.worker(1)
		if text := s.text(); strings.Count(text, "too many open files") != 1 {
			t.Errorf("the user was told %q", text)
		}
		w.l.conns <- nil
		w.worker(1)
		if text := s.text(); strings.Count(text, "too many open files") != 2 {
			t.Errorf("of the second time the user was told %q", text)
		}
	}, saying(&s))
}

func TestStrangersKeepNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		var first *memConn
		for i := range 1000 {
			c := w.l.dial()
			if i == 0 {
				first = c
			}
		}
		w.worker(1)
		if d := time.Since(began); d > 0 {
			t.Errorf("a worker waited for %v", d)
		}
		if _, err := first.Read(make([]byte, 1)); err == nil || time.Since(began) > 0 {
			t.Errorf("the oldest stranger is still there: %v", err)
		}
		w.worker(1)
	})
}

// Those who have finished their handshake stay when strangers come in numbers.
func TestAHandshakeKeepsItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		raw := w.l.dial()
		conn, err := mtls.Client(context.Background(), raw, w.id.Pin())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 1000 {
			w.l.dial()
		}
		synctest.Wait()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		read := make(chan error)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			read <- err
		}()
		select {
		case err := <-read:
			t.Errorf("it was hung up on: %v", err)
		case <-time.After(dispatcher.HelloTimeout - time.Second):
		}
		<-read
	})
}

func TestClosingWaitsForNoStranger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.l.dial()
		synctest.Wait()
		began := time.Now()
		if err := w.door.Close(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("closing took %v: %v", time.Since(began), err)
		}
	})
}

func TestStrangersAreCountedNotQuoted(t *testing.T) {
	var log bytes.Buffer
	bubble(t, func(t *testing.T, w *world) {
		for i := range 500 {
			raw := w.l.dial()
			h := w.hello()
			h.Version, h.MinVersion, h.Build = 99, 99, strings.Repeat("b", 3900)
			w.greet(raw, h, mtls.NewToken())
			raw.Close()
			if i == 250 {
				time.Sleep(2 * time.Second)
			}
		}
		synctest.Wait()
		if n := bytes.Count(log.Bytes(), []byte("not admitted")); n != 2 || log.Len() > 2000 {
			t.Errorf("%d lines, %d bytes: %.2000s", n, log.Len(), log.String())
		}
	}, func(o *options, _ *dispatcher.RunOptions) {
		o.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
	})
}
