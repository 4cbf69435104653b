package ssh

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxSocket is what fits into sun_path on every system (104 bytes on BSD and
// macOS, unix(4)), less the 17 bytes that ssh adds while it makes the socket.
const maxSocket = 104 - 1 - 17

// masterGrace is what a master gets to say goodbye before it is killed.
const masterGrace = 2 * time.Second

// stderrMaster is what is kept of a master's stderr. A host key that changed
// alone takes 1 KiB.
const stderrMaster = 16 << 10

// master is an `ssh -M` of ours.
type master struct {
	host   string
	socket string
	cmd    *exec.Cmd
	tether *os.File // open as long as cmd is to run
	stderr *chatter
	ended  func()
	reaped chan struct{} // closed when the process is gone
	once   sync.Once
}

// login starts a master and waits until it has logged in. The master that it
// returns beside an error has ended and is good for its last words.
func (s *openSSH) login(ctx context.Context) (*master, error) {
	m := &master{host: s.o.Target.Host, stderr: &chatter{kept: tail{most: stderrMaster}}, reaped: make(chan struct{})}
	m.socket = filepath.Join(s.o.ControlDir, rand.Text()[:8])
	if len(m.socket) > maxSocket {
		return m, fmt.Errorf("log in to %s: the control socket's path %s is longer than %d bytes: choose a shorter folder", m.host, m.socket, maxSocket)
	}
	stdout, err := s.start(m)
	if err != nil {
		close(m.reaped)
		return m, err
	}
	return m, m.await(ctx, stdout, s.patience())
}

// start starts the master's process and returns what it prints.
func (s *openSSH) start(m *master) (stdout io.Reader, err error) {
	argv := s.master(m.socket)
	if m.cmd, m.tether, err = tethered(argv); err != nil {
		return nil, err
	}
	m.cmd.Env, m.cmd.Stderr = s.environ(), m.stderr
	m.cmd.WaitDelay = time.Second // what ssh leaves behind may hold stderr
	stdout, err = m.cmd.StdoutPipe()
	if err == nil {
		m.ended, err = s.o.Spawn(m.cmd)
	}
	m.cmd.ExtraFiles[0].Close()
	if err != nil {
		m.tether.Close()
		return nil, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return stdout, nil
}

// patience bounds a whole login.
func (s *openSSH) patience() time.Duration {
	if len(s.o.Askpass) > 0 {
		return personTimeout
	}
	return loginTimeout
}

// await waits for the login. Whatever comes instead, the master is gone when it
// returns an error.
func (m *master) await(ctx context.Context, stdout io.Reader, patience time.Duration) error {
	in := make(chan bool, 1)
	go func() { // ends with the process, which m.stop waits for
		defer close(m.reaped)
		in <- saysReady(stdout)
		io.Copy(io.Discard, stdout)
		m.cmd.Wait()
		killGroup(m.cmd)
		m.tether.Close()
		m.ended()
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case ok := <-in:
		if ok {
			return nil
		}
		m.stop()
		return m.failure()
	case <-ctx.Done():
		m.stop()
		return fmt.Errorf("log in to %s: %w", m.host, ctx.Err())
	case <-late.C:
		m.stop()
		return failf(ErrAuth, m.host, "log in to %s: ssh did not finish within %s: %s", m.host, patience, lastWords(m.words()))
	}
}

// saysReady reads up to the master's word. A user's ProxyCommand may print
// before it.
func saysReady(r io.Reader) bool {
	const most = 64 << 10
	lines := bufio.NewScanner(io.LimitReader(r, most))
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == ready {
			return true
		}
	}
	return false
}

func (m *master) words() string { return string(m.stderr.bytes()) }

// chatter keeps of what ssh says at LogLevel DEBUG1 what it says at INFO, and
// two things that it says nowhere else: the host's key, and what a server says
// in place of a greeting.
type chatter struct {
	kept tail
	mu   sync.Mutex // guards line
	line []byte     // without its end so far
}

func (c *chatter) Write(p []byte) (int, error) {
	const most = 4 << 10 // of a line
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if len(c.line) < most {
			c.line = append(c.line, b)
		}
		if b == '\n' {
			c.keep(string(c.line))
			c.line = c.line[:0]
		}
	}
	return len(p), nil
}

func (c *chatter) keep(line string) {
	if !strings.HasPrefix(line, debug) || strings.Contains(line, serverKey) || strings.Contains(line, bannerLine) {
		c.kept.Write([]byte(line))
	}
}

func (c *chatter) bytes() []byte { return c.kept.bytes() }

// How these lines begin, or what they have (log.c, sshconnect2.c, kex.c).
const (
	debug      = "debug1: "
	serverKey  = "Server host " // key: or certificate:
	bannerLine = "banner line "
)

// stop ends the master and waits until its processes and socket are gone. Its
// shell passes the signals on; ssh may take one just before it waits for events,
// and notice it at the next one (clientloop.c), so it gets several.
func (m *master) stop() error {
	m.once.Do(func() {
		defer os.Remove(m.socket)
		const every = 50 * time.Millisecond
		again := time.NewTicker(every)
		defer again.Stop()
		for range masterGrace / every {
			m.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-m.reaped:
				return
			case <-again.C:
			}
		}
		killGroup(m.cmd)
	})
	<-m.reaped
	return nil
}

// whyEnded says why the connection ended: the master's last words, for which it
// gets a moment, since its socket closes before it exits.
func (m *master) whyEnded() error {
	select {
	case <-m.reaped:
	case <-time.After(masterGrace):
	}
	if words := lastWords(m.words()); words != "" {
		return errors.New(words)
	}
	return nil
}

// group makes the child the first of a session of its own, so that it and what
// it starts can be ended together, and asks nobody on our terminal.
func group(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// killGroup ends all of it. A group that has ended is no error.
func killGroup(cmd *exec.Cmd) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
