package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		for _, tc := range []struct {
			command, stdin, stdout, stderr string
			code                           int
			signal                         string
		}{
			{command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
			{command: "exit 3", code: 3},
			{command: "exit 255", code: 255}, // ssh's own failure elsewhere
			{command: "cat", stdin: "text", stdout: "text"},
			{command: "true", stdin: strings.Repeat("unread", 1<<16)},
			{command: "kill -9 $$", code: 128, signal: "KILL"},
			{command: "test -t 0 || echo none", stdout: "none\n"},
		} {
			out, err := c.Run(t.Context(), tc.command, strings.NewReader(tc.stdin))
			if err != nil || string(out.Stdout) != tc.stdout || string(out.Stderr) != tc.stderr || out.Code != tc.code || out.Signal != tc.signal {
				t.Errorf("%s: %+v %v", tc.command, out, err)
			}
		}
		out, err := c.Run(t.Context(), "head -c 3000000 /dev/zero", nil)
		if err != nil || len(out.Stdout) != maxOutput || !out.Truncated {
			t.Errorf("3 MB: %d bytes, truncated %v, %v", len(out.Stdout), out.Truncated, err)
		}
		if at := c.Target(); at.Host != "127.0.0.1" || at.Port != s.port || at.User != me(t) {
			t.Errorf("logged in to %v", at)
		}
	})
}

func TestOneLoginForAllSessions(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		before := s.count("Accepted publickey")
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		for range 5 {
			if _, err := c.Run(t.Context(), "true", nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.count("Accepted publickey") - before; n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}

// TestBulk sends 20 MB through cat while both directions are full.
func TestBulk(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		run, err := c.Exec(t.Context(), "cat")
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
		sent := make(chan error, 1)
		go func() {
			_, err := run.Write(data)
			sent <- errors.Join(err, run.CloseWrite())
		}()
		sum := sha256.New()
		n, err := io.Copy(sum, run)
		if err := errors.Join(err, <-sent, run.Wait(), run.Close()); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(data); n != int64(len(data)) || !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("%d bytes came back changed", n)
		}
	})
}

func TestStderrTail(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		run, err := c.Exec(t.Context(), "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; echo the last >&2; exit 7")
		if err != nil {
			t.Fatal(err)
		}
		defer run.Close()
		io.Copy(io.Discard, run)
		var exit *ExitError
		if err := run.Wait(); !errors.As(err, &exit) || exit.Code != 7 || !strings.Contains(err.Error(), "the last") {
			t.Errorf("ended with %v", err)
		}
		if tail := run.Stderr(); len(tail) != stderrTail || !strings.HasSuffix(tail, "the last\n") {
			t.Errorf("%d bytes kept, ending in %q", len(tail), tail[max(0, len(tail)-20):])
		}
	})
}

func TestForceCommand(t *testing.T) {
	s := startServer(t, "ForceCommand echo forced $SSH_ORIGINAL_COMMAND")
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		out, err := c.Run(t.Context(), "mine", nil)
		if err != nil || string(out.Stdout) != "forced mine\n" {
			t.Errorf("%+v %v", out, err)
		}
	})
}

func TestMaxSessions(t *testing.T) {
	s := startServer(t, "MaxSessions 1")
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		first, err := c.Exec(t.Context(), "cat")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Exec(t.Context(), "true"); !errors.Is(err, ErrSession) {
			t.Errorf("a second session: %v", err)
		}
		has(t, err, "MaxSessions")
		first.CloseWrite()
		if err := first.Wait(); err != nil {
			t.Error(err)
		}
		// The server frees the place when it has seen our side of the close.
		eventually(t, "a free session", func() bool { _, err := c.Run(t.Context(), "true", nil); return err == nil })
	})
}

func TestCancelEndsSession(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		run, err := c.Exec(ctx, "echo started; exec sleep 1000")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(run, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := run.Wait(); err == nil {
			t.Error("a session that was cancelled ended well")
		}
		if _, err := c.Run(t.Context(), "true", nil); err != nil {
			t.Errorf("the connection is gone too: %v", err)
		}
		timeout, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer stop()
		if _, err := c.Run(timeout, "exec sleep 1000", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run beyond its time: %v", err)
		}
	})
}

func TestLostAndClosed(t *testing.T) {
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		s := startServer(t)
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		run, err := c.Exec(t.Context(), "exec cat")
		if err != nil {
			t.Fatal(err)
		}
		if c.Err() != nil {
			t.Errorf("an error before the end: %v", c.Err())
		}
		s.stop()
		<-c.Done()
		if err := c.Err(); !errors.Is(err, ErrLost) {
			t.Errorf("a killed server: %v", err)
		}
		if err := run.Wait(); !errors.Is(err, ErrLost) {
			t.Errorf("its session: %v", err)
		}
		if _, err := c.Run(t.Context(), "true", nil); !errors.Is(err, ErrLost) {
			t.Errorf("a command afterwards: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestClose(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		run, err := c.Exec(t.Context(), "exec cat")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrLost) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := run.Read(make([]byte, 1)); err == nil {
			t.Error("the session can still be read")
		}
		if _, err := c.Exec(t.Context(), "true"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a command afterwards: %v", err)
		}
	})
}

// TestSubsystem: what a server offers is had, also beside what else runs on the one
// login, and what it does not offer is told from a server that opens no session.
func TestSubsystem(t *testing.T) {
	s := startServer(t, "MaxSessions 2", "Subsystem upper tr a-z A-Z", "Subsystem gone /nowhere/program")
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := dial(t, o)
		defer c.Close()
		up, err := c.Subsystem(t.Context(), "upper")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(up, "hello")
		up.CloseWrite()
		if b, err := io.ReadAll(up); string(b) != "HELLO" || err != nil || up.Wait() != nil {
			t.Errorf("%q, %v", b, err)
		}
		eventually(t, "a free session", func() bool {
			_, err := c.Subsystem(t.Context(), "none")
			if errors.Is(err, ErrSession) {
				return false
			}
			if !errors.Is(err, ErrSubsystem) {
				t.Error(err)
			}
			has(t, err, "Subsystem in its sshd_config")
			return true
		})
		var gone *Session
		eventually(t, "a free session", func() bool { gone, err = c.Subsystem(t.Context(), "gone"); return err == nil })
		var exit *ExitError
		if b, err := io.ReadAll(gone); len(b) > 0 || err != nil || !errors.As(gone.Wait(), &exit) || exit.Code != 127 {
			t.Errorf("%q, %v, %+v", b, err, exit)
		}
		ctx, cancel := context.WithCancel(t.Context())
		eventually(t, "a free session", func() bool { up, err = c.Subsystem(ctx, "upper"); return err == nil })
		cancel()
		if err := up.Wait(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		c.Close()
		if _, err := c.Subsystem(t.Context(), "upper"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
