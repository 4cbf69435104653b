package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"muster/ssh/relay"
)

// mostDown is how long a request waits for a link that is lost, unless its
// context ends before.
const mostDown = 2 * time.Minute

// relay returns the connection to the relay, once there is a link.
func (s *Site) relay(ctx context.Context) (*relay.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, mostDown, fmt.Errorf("the link has been down for %v", mostDown))
	defer cancel()
	for {
		s.mu.Lock()
		l, changed, gone := s.link, s.changed, s.gone
		s.mu.Unlock()
		switch {
		case s.ctx.Err() != nil:
			return nil, ErrClosed
		case l != nil:
			return l.conn, nil
		case gone != nil:
			return nil, fmt.Errorf("%s cannot be reached: %w", s.login.Target, gone)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s cannot be reached for now: %w", s.login.Target, context.Cause(ctx))
		case <-s.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// Login returns how the site is reached.
func (s *Site) Login() Login { return s.login }

// User is who muster is there.
func (s *Site) User() string { return s.known().hello.User }

// Program is the path of muster there.
func (s *Site) Program() string { return s.known().program }

// Dir is the folder there for what belongs to this run and came by this login: machines
// may share their homes, and what one login leaves behind is not another's to remove.
// It is made when the first file is written. It is not where a run that is started there
// has its own.
func (s *Site) Dir() string {
	return path.Join(s.known().state, "remote", s.o.Run+"-"+s.login.digest())
}

type knowledge struct {
	hello          relay.Hello
	program, state string
}

func (s *Site) known() knowledge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return knowledge{s.hello, s.program, s.state}
}

// Hello is what the relay there says of the machine.
func (s *Site) Hello() relay.Hello { return s.known().hello }

// CanForward asks whether the server forwards a port to here, which muster's
// workers do not need.
func (s *Site) CanForward(ctx context.Context) error {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l == nil {
		return errEnded
	}
	return l.client.CanForward(ctx)
}

// OnRenewal has f called each time that there is another link.
func (s *Site) OnRenewal(f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = append(s.renewed, f)
}

// use notes that there may be something of the run's there.
func (s *Site) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
}

// MakeDir makes a folder of mode 0700 there, and the folders to it.
func (s *Site) MakeDir(ctx context.Context, dir string) error {
	s.use()
	o, err := s.Run(ctx, []string{"sh", "-c", `umask 077; exec mkdir -p "$1"`, "sh", dir}, "")
	if err == nil && o.Code != 0 {
		err = errors.New(oneLine(string(o.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("make %s on %s: %w", dir, s.login.Target, err)
	}
	return nil
}

// WriteFile writes a file of mode 0600 there, and the folders to it.
func (s *Site) WriteFile(ctx context.Context, file string, data []byte) error {
	c, err := s.relay(ctx)
	if err != nil {
		return err
	}
	s.use()
	if err := c.WriteFile(ctx, file, data, fs.FileMode(0o600)); err != nil {
		return fmt.Errorf("%s: %w", s.login.Target, err)
	}
	return nil
}

// Remove removes files or folders there.
func (s *Site) Remove(ctx context.Context, paths ...string) error {
	c, err := s.relay(ctx)
	if err != nil {
		return err
	}
	return c.Remove(ctx, paths...)
}

// Tail returns the last n bytes of a file there.
func (s *Site) Tail(ctx context.Context, file string, n int) ([]byte, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return nil, err
	}
	return c.Tail(ctx, file, n)
}

// HasDir reports whether a folder is there.
func (s *Site) HasDir(ctx context.Context, dir string) (bool, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return false, err
	}
	_, isDir, err := c.Stat(ctx, dir)
	return isDir, err
}

// Run runs a command there and returns its output.
func (s *Site) Run(ctx context.Context, argv []string, stdin string) (relay.Output, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return relay.Output{}, err
	}
	return c.Run(ctx, relay.Command{Argv: argv, Stdin: []byte(stdin)})
}

// Start starts a command there that outlives the link, in a folder, with its
// output in a file.
func (s *Site) Start(ctx context.Context, argv []string, dir, log string) (relay.Process, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return relay.Process{}, err
	}
	s.use()
	return c.Start(ctx, relay.Command{Argv: argv, Dir: dir}, log)
}

// Alive reports which of the processes there are alive.
func (s *Site) Alive(ctx context.Context, list []relay.Process) ([]bool, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return nil, err
	}
	return c.Alive(ctx, list)
}

// Signal sends a signal, such as SIGTERM, to a process there.
func (s *Site) Signal(ctx context.Context, p relay.Process, name string) error {
	c, err := s.relay(ctx)
	if err != nil {
		return err
	}
	return c.Signal(ctx, p, name)
}
