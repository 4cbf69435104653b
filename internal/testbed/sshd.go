package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// SSHDOptions say where an sshd runs and how.
type SSHDOptions struct {
	Net  *Network // nil is this machine
	NS   string   // the node of Net
	Name string   // the host in ssh_config; "" is NS, or "node" on this machine
	Port int      // 0 is the port that is open on Net, or a free one of this machine
	// Lines of sshd_config, before all others: the first value of a keyword counts.
	// From the first Match on they come last.
	Lines []string
	Env   []string // NAME=VALUE, what each session has beside the environment of its node
	// Code is asked for after the password ("Verification code: ") when a session
	// is opened by keyboard-interactive. Needs Net, and gcc.
	Code string
}

// SSHD is an OpenSSH server that runs, and what a client needs for it:
// Dir/ssh_config, with one host; Dir/id, a key that every user accepts;
// Dir/known_hosts; Dir/sshd.out, the log.
//
// Over the network, users log in with keys alone unless a line says
// "PasswordAuthentication yes", or "UsePAM yes" with "KbdInteractiveAuthentication
// yes".
type SSHD struct {
	Dir    string
	Addr   string // where clients dial: on a network, as seen from outside
	Port   int
	o      SSHDOptions
	server *exec.Cmd // nil before it has started
	orphan []int     // the processes of sessions that have outlived a server
}

// StartSSHD starts a server below dir, which must be absolute and, if it is to
// serve other users, one that they may traverse.
func StartSSHD(dir string, o SSHDOptions) (*SSHD, error) {
	s := &SSHD{Dir: dir, Addr: "127.0.0.1", Port: o.Port, o: o}
	if err := s.place(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // "Missing privilege separation directory" otherwise
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{s.keys, s.clientFiles, s.pam, s.writeConfig, s.start} {
		if err := step(); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// place finds the address at which clients dial, and the port.
func (s *SSHD) place() error {
	if s.o.Net == nil {
		if s.o.Name == "" {
			s.o.Name = "node"
		}
		if s.Port == 0 {
			ports, err := freePorts(1)
			if err != nil {
				return err
			}
			s.Port = ports[0]
		}
		return nil
	}
	s.Addr = s.o.Net.Addr(s.o.NS)
	if s.o.NS == "login" {
		s.Addr = LoginWAN
	}
	if s.o.Name == "" {
		s.o.Name = s.o.NS
	}
	if s.Port == 0 {
		s.Port = s.o.Net.opts.SSHPort
	}
	return nil
}

// start starts the server and waits until it listens. It says so: to dial it
// would count as a failed login.
func (s *SSHD) start() error {
	if out, err := s.command("-t").CombinedOutput(); err != nil {
		return fmt.Errorf("check sshd's configuration: %w: %s", err, out)
	}
	log, err := os.Create(s.path("sshd.out"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("-D", "-e")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.server = cmd
	return (&Cluster{Dir: s.Dir}).await("sshd", func() bool {
		b, _ := os.ReadFile(log.Name())
		return strings.Contains(string(b), "Server listening on")
	})
}

func (s *SSHD) command(args ...string) *exec.Cmd {
	program, err := look("sshd")
	if err != nil {
		program = "/usr/sbin/sshd" // which the error then names
	}
	argv := append([]string{program, "-f", s.path("sshd_config")}, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if s.o.Net != nil {
		cmd = s.o.Net.Command(s.o.NS, argv...)
	}
	cmd.Dir, cmd.Env = "/", append(os.Environ(), s.mark())
	return cmd
}

// Rekey has the server start again with another key, as a reinstalled host
// would, or one that is not the host at all. known_hosts stays as it was, and so
// do the sessions.
func (s *SSHD) Rekey() error {
	s.orphan = append(s.orphan, descendants(s.server.Process.Pid)...)
	s.server.Process.Signal(syscall.SIGTERM) // which ends no session: that is how sshd is
	s.server.Wait()
	for _, name := range []string{"host_key", "host_key.pub"} {
		if err := os.Remove(s.path(name)); err != nil {
			return err
		}
	}
	if err := generateKey(s.path("host_key")); err != nil {
		return err
	}
	return s.start()
}

// Stop ends the server, all sessions and what they run. The sessions' keepers
// overwrite their environment with a title, so they are found by their parents
// and name, and all else by the mark.
func (s *SSHD) Stop() {
	if s.server == nil {
		return
	}
	s.server.Process.Signal(syscall.SIGSTOP) // or it would start more
	below := append(s.orphan, descendants(s.server.Process.Pid)...)
	s.server.Process.Kill()
	s.server.Wait()
	for _, pid := range below {
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.HasPrefix(string(b), "sshd") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	endAll(s.mark(), func(string) bool { return true })
	s.server = nil
}
