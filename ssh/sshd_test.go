package ssh

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is an OpenSSH server of a test's own on 127.0.0.1.
type server struct {
	dir  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
	stop func()

	mu   sync.Mutex // guards log
	log  []string
	seen *sync.Cond
}

// needs skips the test where a program is missing, but not on CI.
func needs(t *testing.T, program, from string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	if err != nil {
		missing(t, "no %s here: install %s", program, from)
	}
	return path
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "only root can do this: run the tests as root in a container")
	}
}

// newServer makes the files of a server: host key, a user's key id, known_hosts
// and ssh_config. Lines come first in its configuration, and so win.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), port: freePort(t)}
	s.seen = sync.NewCond(&s.mu)
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("host_key"))
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("id"))
	s.authorize(t, "id.pub")
	s.write(t, "known_hosts", s.knownAs()+" "+s.read(t, "host_key.pub"))
	return s
}

func startServer(t *testing.T, lines ...string) *server {
	t.Helper()
	s := newServer(t)
	s.start(t, lines...)
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) knownAs() string         { return fmt.Sprintf("[127.0.0.1]:%d", s.port) }

func (s *server) write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.path(name)
}

func (s *server) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *server) authorize(t *testing.T, public string) {
	t.Helper()
	s.write(t, "authorized_keys", s.read(t, public))
	if err := os.Chmod(s.path("authorized_keys"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// config returns an ssh_config file for the server, as the host "node".
func (s *server) config(t *testing.T, lines ...string) string {
	t.Helper()
	text := strings.Join(lines, "\n") + fmt.Sprintf(`
Host node
  HostName 127.0.0.1
  Port %d
Host *
  IdentityFile %s
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
`, s.port, s.path("id"), s.path("known_hosts"))
	f, err := os.CreateTemp(s.dir, "config")
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f.Name()
}

// start runs sshd until the test ends.
func (s *server) start(t *testing.T, lines ...string) {
	t.Helper()
	sshd := needs(t, "sshd", "openssh-server")
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // privilege separation
			t.Fatal(err)
		}
	}
	s.write(t, "sshd_config", strings.Join(lines, "\n")+fmt.Sprintf(`
ListenAddress 127.0.0.1:%d
HostKey %s
PidFile none
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
`, s.port, s.path("host_key"), s.path("authorized_keys")))
	s.cmd = exec.Command(sshd, "-D", "-e", "-f", s.path("sshd_config"))
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	go s.listen(stderr)
	s.stop = sync.OnceFunc(func() {
		children := descendants(s.cmd.Process.Pid) // sessions survive their server
		s.cmd.Process.Kill()
		for _, pid := range children {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		s.cmd.Wait()
		<-s.done
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("sshd on port %d:\n%s", s.port, strings.Join(s.log[max(0, len(s.log)-40):], "\n"))
		}
	})
	s.await(t, "Server listening on")
}

func (s *server) listen(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		s.mu.Lock()
		s.log = append(s.log, lines.Text())
		s.mu.Unlock()
		s.seen.Broadcast()
	}
	s.mu.Lock()
	s.log = append(s.log, "END")
	close(s.done)
	s.mu.Unlock()
	s.seen.Broadcast()
}

// await waits until the server's log has text.
func (s *server) await(t *testing.T, text string) {
	t.Helper()
	late := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		s.log = append(s.log, "END")
		s.mu.Unlock()
		s.seen.Broadcast()
	})
	defer late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for _, l := range s.log {
			if strings.Contains(l, text) {
				return
			}
			if l == "END" {
				t.Fatalf("sshd never said %q:\n%s", text, strings.Join(s.log, "\n"))
			}
		}
		s.seen.Wait()
	}
}

// count returns in how many lines the log has text.
func (s *server) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.log {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func descendants(pid int) []int {
	var list []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(w); err == nil {
				list = append(append(list, child), descendants(child)...)
			}
		}
	}
	return list
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func keygen(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(needs(t, "ssh-keygen", "openssh-client"), append([]string{"-q"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
}

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}
