package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func (s *SSHD) path(name string) string { return filepath.Join(s.Dir, name) }

// keys makes the server's key and the user's.
func (s *SSHD) keys() error {
	for _, name := range []string{"host_key", "id"} {
		if err := generateKey(s.path(name)); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(s.path("id.pub"))
	if err != nil {
		return err
	}
	return os.WriteFile(s.path("authorized_keys"), b, 0o644)
}

func generateKey(path string) error {
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", filepath.Base(path), "-f", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make an SSH key: %w: %s", err, out)
	}
	return nil
}

// clientFiles writes known_hosts and ssh_config. The host is known by all its
// addresses, those of delayed links (10.91) included.
func (s *SSHD) clientFiles() error {
	key, err := os.ReadFile(s.path("host_key.pub"))
	if err != nil {
		return err
	}
	hosts := []string{s.Addr}
	if s.o.Net != nil {
		hosts = append(hosts, s.o.NS, s.o.Net.Addr(s.o.NS), "10.91.*")
	}
	for i, h := range hosts {
		if s.Port != 22 { // the port is part of the name, sshd(8)
			hosts[i] = "[" + h + "]:" + strconv.Itoa(s.Port)
		}
	}
	f := strings.Fields(string(key))
	line := strings.Join(hosts, ",") + " " + f[0] + " " + f[1] + "\n"
	if err := os.WriteFile(s.path("known_hosts"), []byte(line), 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.path("ssh_config"), fmt.Appendf(nil, `Host %s
  HostName %s
  Port %d
  IdentityFile %[4]s/id
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %[4]s/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ConnectTimeout 20
`, s.o.Name, s.Addr, s.Port, s.Dir), 0o644)
}

// mark is in the environment of the server and of each session.
func (s *SSHD) mark() string { return "MUSTER_TESTBED_SSHD=" + s.Dir }

// writeConfig writes sshd_config. Of most keywords the first value counts, so the
// test's lines come first.
func (s *SSHD) writeConfig() error {
	first, last := s.o.Lines, []string(nil)
	if i := slices.IndexFunc(first, isKeyword("Match")); i >= 0 { // it would have what follows too
		first, last = first[:i], first[i:]
	}
	lines := slices.DeleteFunc(slices.Clone(first), isKeyword("SetEnv"))
	lines = append(lines, s.setEnv(first))
	if !slices.ContainsFunc(first, isKeyword("MaxStartups")) { // of this one the last value counts
		lines = append(lines, "MaxStartups 100:30:200")
	}
	if !slices.ContainsFunc(first, isKeyword("Subsystem")) { // and this one is an error if it is there twice
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	listen := "0.0.0.0\nListenAddress ::"
	if s.o.Net == nil {
		listen = s.Addr
	}
	lines = append(lines, fmt.Sprintf(sshdConfig, s.Port, listen, s.Dir))
	return os.WriteFile(s.path("sshd_config"), []byte(strings.Join(append(lines, last...), "\n")+"\n"), 0o644)
}

// sshdConfig is what holds unless a line before says otherwise. StrictModes would
// refuse keys in a folder below one that others may write.
const sshdConfig = `Port %d
ListenAddress %s
HostKey %[3]s/host_key
PidFile none
AuthorizedKeysFile %[3]s/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxSessions 50
UseDNS no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE`

func isKeyword(keyword string) func(line string) bool {
	return func(line string) bool {
		word, _, _ := strings.Cut(line, " ")
		return strings.EqualFold(word, keyword)
	}
}

// setEnv is the one line of SetEnv, since only the first counts: the mark, what
// the options say, and the values of the test's own lines.
func (s *SSHD) setEnv(lines []string) string {
	env := []string{s.mark()}
	if s.o.Net != nil {
		env = append(env, sessionEnv(s.o.Net.node(s.o.NS).env)...)
	}
	set := "SetEnv"
	for _, kv := range append(env, s.o.Env...) {
		set += ` "` + kv + `"`
	}
	for _, l := range lines {
		if isKeyword("SetEnv")(l) {
			set += l[len("SetEnv"):]
		}
	}
	return set
}

// sessionEnv leaves out what sshd itself sets, by the user who logs in.
func sessionEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "HOME=") })
}
