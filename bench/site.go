package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"muster/internal/testbed"
)

// site is a laptop, and a login node with an SSH server far away.
type site struct {
	*bench
	net    *testbed.Network
	sshd   *testbed.SSHD
	noise  string // a file on the login node
	size   int64  // its bytes
	inputs string // a file with a line for each task
	log    string // of the tasks of the last run
}

// start builds the site and goes the whole way once, which copies muster to the
// login node: no measurement is to include that.
func (s *site) start(o tunnelOptions) (err error) {
	if err := os.WriteFile(s.inputs, []byte(strings.Repeat(tunnelTask+"\n", o.tasks)), 0o600); err != nil {
		return err
	}
	if s.size, err = writeNoise(s.noise, o.megabytes); err != nil {
		return err
	}
	if s.net, err = testbed.StartNetwork(s.dir+"/net", testbed.NetworkOptions{}); err != nil {
		return err
	}
	if s.sshd, err = testbed.StartSSHD(s.dir+"/sshd", testbed.SSHDOptions{Net: s.net, NS: "login"}); err != nil {
		return err
	}
	_, far, err := s.net.Delay("laptop", "login", o.rtt/2)
	if err != nil {
		return err
	}
	if err := s.configure(far); err != nil {
		return err
	}
	out, err := s.tunnelled("--", "uname", ":::", "-n").CombinedOutput()
	if err == nil && !strings.Contains(string(out), "login\n") {
		err = errors.New("it did not run on the login node")
	}
	if err != nil {
		return fmt.Errorf("one task through the tunnel: %w\n%s", err, out)
	}
	return nil
}

func (s *site) stop() {
	if s.sshd != nil {
		s.sshd.Stop()
	}
	if s.net != nil {
		s.net.Stop()
	}
}

// writeNoise writes so many megabytes that no compression makes smaller.
func writeNoise(path string, megabytes int) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size := int64(megabytes) * 1_000_000
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		return 0, err
	}
	return size, f.Close()
}

// configure has ssh, sftp and muster on the laptop reach the login node by the
// address that is far away.
func (s *site) configure(far string) error {
	text, err := os.ReadFile(s.sshd.Dir + "/ssh_config")
	if err != nil {
		return err
	}
	// Of each keyword the first value counts (ssh_config(5)).
	text = append([]byte("Host login\n  HostName "+far+"\n"), text...)
	if err := os.MkdirAll(s.net.Dir+"/laptop/.ssh", 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(s.net.Dir+"/laptop/.ssh/config", text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.dir+"/muster.hcl", fmt.Appendf(nil, `launcher "ssh" "tunnel" {
  remotes = ["ssh://login"]
  tunnel  = true
  slots   = %d
  workdir = "/"
}
profile "tunnel" {
  launcher = launcher.ssh.tunnel
  workers  = 1
}
`, tunnelSlots), 0o600)
}

// tunnelled is muster run on the laptop, with workers on the login node.
func (s *site) tunnelled(args ...string) *exec.Cmd {
	argv := append([]string{s.muster, "run", "-c", s.dir + "/muster.hcl", "-p", "tunnel"}, args...)
	cmd := s.net.Command("laptop", argv...)
	cmd.Env = s.command("muster").Env
	return cmd
}
