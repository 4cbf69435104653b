package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// The openssh client logs in once, with `ssh -M`, and opens its sessions on the
// control socket in proxy mode (PROTOCOL.mux in OpenSSH's source, since 7.4),
// where the two ends speak SSH's own channels. So sessions are the same as the
// native client's: no process for each, and an exit status 255 is the
// command's, never ssh's.

// queryTimeout is for what ssh answers without the network, -G and -O check.
// It is long because a Match exec of the user's runs there.
const queryTimeout = 20 * time.Second

// personTimeout is for a whole login in which ssh may ask a person.
const personTimeout = 10 * time.Minute

func dialOpenSSH(ctx context.Context, o Options) (*Client, error) {
	if o.ControlDir == "" {
		return nil, fmt.Errorf("log in to %s: the openssh client needs a folder for its control socket", o.Target.Host)
	}
	s := &openSSH{o: o}
	defer s.cleanFile()
	if err := s.understand(ctx); err != nil {
		return nil, err
	}
	if path := s.config["controlpath"]; path != "" && path != "none" && s.query(ctx, "-O", "check") == nil {
		o.Log.Debug("using the ControlMaster that runs", "host", o.Target.Host, "socket", path)
		return s.attach(path, nil)
	}
	for try := 1; ; try++ {
		m, err := s.login(ctx)
		if err == nil {
			return s.attach(m.socket, m)
		}
		if try == dropTries || !m.dropped() || ctx.Err() != nil {
			return nil, err
		}
		o.Log.Info("the server dropped the connection, trying again", "host", o.Target.Host, "try", try, "error", err)
		if err := pause(ctx, dropPause<<(try-1)); err != nil {
			return nil, fmt.Errorf("log in to %s: %w", o.Target.Host, err)
		}
	}
}

// openSSH drives one host's ssh.
type openSSH struct {
	o      Options
	file   string            // configuration of our own, or ""
	config map[string]string // what ssh -G says, first values alone
}

// understand asks ssh what it makes of the user's configuration, and not in
// BatchMode, for which Debian's has another ServerAliveInterval: it would pass for
// the user's.
func (s *openSSH) understand(ctx context.Context) error {
	out, err := s.output(ctx, "-G")
	if err != nil {
		return err
	}
	s.config = map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, ok := s.config[key]; !ok {
			s.config[key] = value
		}
	}
	if jumps := s.config["proxyjump"]; (jumps != "" && jumps != "none") || len(s.o.Jump) > 0 {
		return s.writeFile()
	}
	return nil
}

// writeFile makes a configuration that says what the command line cannot: ssh
// gives its -F to the ssh that it runs for a jump host, and few other options.
func (s *openSSH) writeFile() error {
	if s.o.Config != "" && s.o.Config != "none" && !filepath.IsAbs(s.o.Config) {
		abs, err := filepath.Abs(s.o.Config)
		if err != nil {
			return fmt.Errorf("find %s: %w", s.o.Config, err)
		}
		s.o.Config = abs
	}
	var text strings.Builder
	for _, o := range s.shared() {
		key, value, _ := strings.Cut(o, "=")
		fmt.Fprintf(&text, "%s %s\n", key, value)
	}
	switch s.o.Config {
	case "none":
	case "":
		text.WriteString("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n")
	default:
		fmt.Fprintf(&text, "Include \"%s\"\n", s.o.Config)
	}
	f, err := os.CreateTemp(s.o.ControlDir, "c") // mode 0600
	if err != nil {
		return fmt.Errorf("write a configuration for ssh: %w", err)
	}
	s.file = f.Name()
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write a configuration for ssh: %w", err)
	}
	return nil
}

// cleanFile removes it: ssh reads it at its start, and so has the one for a jump
// host by the time of the login.
func (s *openSSH) cleanFile() {
	if s.file != "" {
		os.Remove(s.file)
		s.file = ""
	}
}

// shared are the options that jump hosts need too.
func (s *openSSH) shared() []string {
	opts := []string{"LogLevel=DEBUG1"} // see chatter
	timeout := s.o.Timeout
	if v := s.config["connecttimeout"]; timeout == 0 && (v == "" || v == "none" || v == "0") {
		timeout = defaultTimeout
	}
	if timeout > 0 {
		opts = append(opts, connectTimeout(timeout))
	}
	strict := s.config["stricthostkeychecking"]
	if s.o.AcceptNew || strict == "false" || strict == "no" || strict == "off" {
		opts = append(opts, "StrictHostKeyChecking=accept-new") // no would let a changed key pass
	}
	if len(s.o.Askpass) == 0 {
		opts = append(opts, "BatchMode=yes")
	}
	return opts
}

// command returns the start of every command line: program, configuration and
// jump hosts.
func (s *openSSH) command() []string {
	argv := strings.Fields(s.o.Program)
	switch {
	case s.file != "":
		argv = append(argv, "-F", s.file)
	case s.o.Config != "":
		argv = append(argv, "-F", s.o.Config)
	}
	if s.o.Jump != nil {
		jump := "none"
		if len(s.o.Jump) > 0 {
			jump = jumpList(s.o.Jump)
		}
		argv = append(argv, "-o", "ProxyJump="+jump)
	}
	if s.o.Target.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(s.o.Target.Port))
	}
	return argv
}

// master returns the command line that logs in. What is said here wins over
// the user's files.
func (s *openSSH) master(socket string) []string {
	argv := append(s.command(), "-M", "-S", socket, "-N", "-T", "-n", "-a", "-x")
	// LocalCommand says when the login is done and the socket is there. Forwards
	// and a RemoteCommand are for the user's own logins, and ControlPersist would
	// take the master out of our hands.
	opts := []string{"PermitLocalCommand=yes", "LocalCommand=echo " + ready, "ControlPersist=no",
		"ClearAllForwardings=yes", "RemoteCommand=none", "Tunnel=no"}
	if v := s.config["serveraliveinterval"]; v == "" || v == "0" {
		opts = append(opts, fmt.Sprintf("ServerAliveInterval=%d", aliveInterval/time.Second), fmt.Sprintf("ServerAliveCountMax=%d", aliveMax))
	}
	for _, o := range append(opts, s.shared()...) {
		argv = append(argv, "-o", o)
	}
	return append(argv, "--", s.o.Target.login())
}

// ready is what the master's LocalCommand prints.
const ready = "muster-logged-in"

// query asks a master something.
func (s *openSSH) query(ctx context.Context, args ...string) error {
	_, err := s.output(ctx, append(args, "-o", "BatchMode=yes")...)
	return err
}

// output runs ssh for an answer that needs no login.
func (s *openSSH) output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	argv := slices.Concat(s.command(), args, []string{"--", s.o.Target.login()})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	group(cmd)
	stdout, stderr := &head{most: maxOutput}, &tail{most: stderrTail}
	cmd.Stdout, cmd.Stderr, cmd.Env = stdout, stderr, s.environ()
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = time.Second
	ended, err := s.o.Spawn(cmd)
	if err == nil {
		err = cmd.Wait()
		ended()
	}
	switch {
	case err == nil:
		return string(stdout.bytes()), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("ask %s about %s: %w", argv[0], s.o.Target.Host, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return "", notInstalled(argv[0], err)
	}
	return "", fmt.Errorf("ask %s about %s: %w: %s", argv[0], s.o.Target.Host, err, lastWords(string(stderr.bytes())))
}

func notInstalled(program string, err error) error {
	return fmt.Errorf(`run %s: %w: install OpenSSH's client, or choose client = "native"`, program, err)
}

// environ is ours with the caller's names, and messages in English, which are
// read here.
func (s *openSSH) environ() []string {
	env := os.Environ()
	env = slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"HOME", "USER", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "LC_ALL"}, name)
	})
	for _, name := range []string{"HOME", "USER", "SSH_AUTH_SOCK"} {
		if v := s.o.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	env = append(env, "LC_ALL=C.UTF-8")
	if len(s.o.Askpass) > 0 && os.Getenv("DISPLAY") == "" {
		env = append(env, "DISPLAY=:0") // OpenSSH before 8.4 asks through SSH_ASKPASS only then
	}
	return append(env, s.o.Askpass...)
}

// attach opens the connection on a control socket. m is nil for a master that
// is not ours.
func (s *openSSH) attach(socket string, m *master) (*Client, error) {
	fail := func(err error) (*Client, error) {
		if m != nil {
			m.stop()
		}
		return nil, failf(ErrConnect, s.o.Target.Host, "open a session on ssh's control socket %s: %w", socket, err)
	}
	conn, err := net.DialTimeout("unix", socket, defaultTimeout)
	if err != nil {
		return fail(err)
	}
	conn.SetDeadline(time.Now().Add(defaultTimeout))
	mux, channels, requests, err := gossh.NewControlClientConn(conn)
	if err != nil {
		conn.Close()
		return fail(err)
	}
	conn.SetDeadline(time.Time{})
	at := s.place()
	c := &Client{target: at, remote: at.address(), conn: gossh.NewClient(mux, channels, requests),
		cut: func() { conn.Close() }, free: func() error { return nil }}
	c.forward = func(ctx context.Context) error { return s.listenBy(ctx, socket) }
	if m != nil {
		c.free, c.why = m.stop, m.whyEnded
	}
	return c.start(0, 0), nil
}

// place is the target as ssh understood it.
func (s *openSSH) place() Target {
	t := Target{User: s.config["user"], Host: s.config["hostname"]}
	t.Port, _ = strconv.Atoi(s.config["port"])
	if t.Host == "" {
		return s.o.Target
	}
	return t
}

// lastWords returns the last lines of what ssh said that are worth repeating.
func lastWords(stderr string) string {
	const most = 4
	var lines []string
	for line := range strings.Lines(stderr) {
		l := strings.TrimRight(printable(strings.TrimSpace(line)), ".")
		if l != "" && !strings.HasPrefix(l, "Pseudo-terminal") && !strings.HasPrefix(l, debug) {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "; ")
}
