package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/internal/remote"
	mssh "muster/ssh"
)

// leaky is a link to a server that breaks once, after so many bytes have gone
// there. The server's end of it stays as it is: it learns nothing.
type leaky struct {
	most  int64
	sent  atomic.Int64
	conns []net.Conn
}

// leakyLink puts such a link before a machine's server.
func leakyLink(t *testing.T, m *machine, most int64) *leaky {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leak := &leaky{most: most}
	var ending sync.WaitGroup
	ending.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.sshd.Port))
			if err != nil {
				t.Error(err)
				break
			}
			leak.conns = append(leak.conns, c, server)
			ending.Go(func() { io.Copy(c, server); c.Close() })
			ending.Go(func() { leak.pass(c, server) })
		}
		for _, c := range leak.conns {
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); ending.Wait() })
	host, port := m.login.Target.Host, l.Addr().(*net.TCPAddr).Port
	m.login.Target.Host = newHost()
	dir := t.TempDir()
	other := strings.NewReplacer("Host "+host+"\n", "Host "+m.login.Target.Host+"\n", fmt.Sprint(m.sshd.Port), fmt.Sprint(port), m.sshd.Dir+"/known_hosts", dir+"/known_hosts")
	for _, name := range []string{"ssh_config", "known_hosts"} {
		b, err := os.ReadFile(filepath.Join(m.sshd.Dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(other.Replace(string(b))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	addHosts(t, filepath.Join(dir, "ssh_config"))
	return leak
}

func (l *leaky) pass(c, server net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			server.Close()
			return
		}
		before := l.sent.Load()
		if now := l.sent.Add(int64(n)); before < l.most && now >= l.most {
			c.Close()
			return
		}
		server.Write(b[:n])
	}
}

// TestCopyGoesOn where it broke off, though the server still has the file of the
// first attempt open.
func TestCopyGoesOn(t *testing.T) {
	t.Parallel()
	for way, lines := range map[string][]string{"sftp": {plain}, "cat": {"Subsystem other internal-sftp"}} {
		for _, client := range clients {
			t.Run(way+" "+client, func(t *testing.T) {
				t.Parallel()
				m := newCarrier(t, client, lines...)
				link := leakyLink(t, m.machine, 4<<20)
				if err := m.fails(t.Context()); !errors.Is(err, mssh.ErrLost) || !strings.Contains(err.Error(), "the next attempt goes on") {
					t.Fatal(err)
				}
				if parts := m.parts(); len(parts) != 1 {
					t.Fatalf("left are %q", parts)
				}
				sent := link.sent.Load()
				m.seen = nil
				m.open()
				m.arrived()
				if first := m.first(); first < 1<<20 || first%(32<<10) != 0 {
					t.Errorf("it went on at %d", first)
				}
				if again := link.sent.Load() - sent; again > 4<<20 {
					t.Errorf("%d bytes were sent again", again)
				}
			})
		}
	}
}

// TestCopyAfterOthers: what other copies have left is used or removed, and a copy
// that is damaged is made from the start.
func TestCopyAfterOthers(t *testing.T) {
	t.Parallel()
	program, err := big()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	wrong := bytes.Repeat([]byte("x"), 4*mib)
	old := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		parts map[string][]byte
		from  int64 // where the copy begins
	}{
		"half":              {map[string][]byte{".new-1": whole[:3*mib]}, 3*mib - 33*32<<10},
		"the largest":       {map[string][]byte{".new-1": whole[:2*mib], ".new-2": whole[:4*mib], ".new-3": whole[:3*mib]}, 4*mib - 33*32<<10},
		"whole":             {map[string][]byte{".new-1": whole}, bigSize/(32<<10)*(32<<10) - 33*32<<10},
		"wrong":             {map[string][]byte{".new-1": wrong}, 4*mib - 33*32<<10},
		"too large":         {map[string][]byte{".new-1": append(slices.Clone(whole), 'x')}, 0},
		"little":            {map[string][]byte{".new-1": whole[:mib]}, 0},
		"a hole at the end": {map[string][]byte{".new-1": append(slices.Clone(whole[:2*mib]), make([]byte, mib)...)}, 3*mib - 33*32<<10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newCarrier(t, "", plain)
			dir := filepath.Dir(m.target())
			other := filepath.Join(filepath.Dir(dir), "other")
			for _, d := range []string{dir, other} {
				if err := os.MkdirAll(d, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			for file, content := range c.parts {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for file, age := range map[string]time.Time{"old": old.AddDate(0, 0, -2), "new": old} { // of another program
				path := filepath.Join(other, ".new-"+file)
				if err := errors.Join(os.WriteFile(path, whole[:mib], 0o600), os.Chtimes(path, age, age)); err != nil {
					t.Fatal(err)
				}
			}
			m.open()
			if parts := m.parts(); len(parts) != 1 || filepath.Base(parts[0]) != ".new-new" {
				t.Errorf("left are %q", parts)
			}
			os.RemoveAll(other)
			m.o.Progress = nil // the mode of bin is the test's, and so not checked
			os.Chmod(filepath.Dir(dir), 0o700)
			m.arrived()
			if first := m.first(); first != c.from {
				t.Errorf("it began at %d, want %d", first, c.from)
			}
			if again := strings.Contains(m.log.String(), "arrived damaged"); again != (name == "wrong") {
				t.Errorf("the log has %q", m.log.String())
			}
		})
	}
}

// TestCopiesAtOnce do not harm each other.
func TestCopiesAtOnce(t *testing.T) {
	t.Parallel()
	m := newCarrier(t, "", plain)
	var opening sync.WaitGroup
	for i := range 5 {
		opening.Go(func() {
			sites := remote.New(m.o)
			t.Cleanup(func() { sites.Close(context.Background(), nil) })
			if _, err := sites.Open(t.Context(), m.login, ""); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	opening.Wait()
	m.arrived()
}

// TestCopyIsOvertaken: another copy finishes between the look at this one's sum and its
// renaming, and removes its file.
func TestCopyIsOvertaken(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "chmod"), []byte("#!/bin/sh\n/bin/chmod \"$@\"\ncase $2 in */.new-*) d=${2%/*}; cp -p \"$2\" \"$d/muster\"; rm -f \"$d\"/.new-* ;; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m := newCarrier(t, "", plain+"\nForceCommand PATH=\""+bin+":$PATH\"; eval \"$SSH_ORIGINAL_COMMAND\"")
	m.sites = remote.New(m.o)
	m.open()
	m.arrived()
}

// TestCopyStands: a copy that makes no progress ends and says so.
func TestCopyStands(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	hang := filepath.Join(t.TempDir(), "cat")
	if err := os.WriteFile(hang, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for way, line := range map[string]string{"sftp": "Subsystem sftp " + self + " sftp hang",
		"cat": `ForceCommand PATH="` + filepath.Dir(hang) + `:$PATH"; eval "$SSH_ORIGINAL_COMMAND"`} {
		for _, client := range clients {
			t.Run(way+" "+client, func(t *testing.T) {
				t.Parallel()
				m := newCarrier(t, client, line)
				m.o.CopyPatience = 9 * time.Second // of which a server may take a third to start
				m.sites = remote.New(m.o)
				if err := m.fails(t.Context()); !strings.Contains(err.Error(), "no progress for 9s") || !strings.Contains(err.Error(), "of 5.3 MB") {
					t.Error(err)
				}
			})
		}
	}
}

// TestCopyOfWhatCannotBeRead: a folder has a size and can be opened.
func TestCopyOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := newCarrier(t, "", plain)
	dir := filepath.Join(t.TempDir(), strings.Repeat("0", 64), "muster")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.o.Program = func(string, string, string) (string, error) { return dir, nil }
	m.sites = remote.New(m.o)
	if err := m.fails(t.Context()); !strings.Contains(err.Error(), "read the program here: "+dir) || strings.Contains(err.Error(), "quota") {
		t.Error(err)
	}
	eventually(t, "the end of what was copied", func() bool { return len(m.left()) == 0 })
}

// TestCopyIsInterrupted: nothing is left of it.
func TestCopyIsInterrupted(t *testing.T) {
	t.Parallel()
	for way, lines := range map[string][]string{"sftp": {plain}, "cat": {"Subsystem other internal-sftp"}} {
		for _, client := range clients {
			t.Run(way+" "+client, func(t *testing.T) {
				t.Parallel()
				m := newCarrier(t, client, lines...)
				ctx, cancel := context.WithCancel(t.Context())
				m.on = func(p remote.Progress) {
					if p.Done > 1<<20 {
						cancel()
					}
				}
				if err := m.fails(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if parts := m.parts(); len(parts) > 0 {
					t.Errorf("left are %q", parts)
				}
				eventually(t, "the end of what it ran", func() bool { return len(m.left()) == 0 })
			})
		}
	}
}

// TestCopyWithoutSums: where no program takes a SHA-256 the copy is read back.
func TestCopyWithoutSums(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	for _, tool := range []string{"sh", "bash", "uname", "cat", "chmod", "cut", "dd", "find", "mkdir", "mv", "rm", "rmdir", "wc"} {
		path, err := exec.LookPath(tool)
		if err == nil {
			err = os.Symlink(path, filepath.Join(tools, tool))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m := newCarrier(t, "", "SetEnv PATH="+tools)
	dir := filepath.Dir(m.target())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".new-wrong"), bytes.Repeat([]byte("x"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.arrived()
	if log := m.log.String(); strings.Count(log, "arrived damaged") != 1 {
		t.Errorf("the log has %q", log)
	}
}
