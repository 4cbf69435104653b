package remote_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/pkg/sftp"

	"muster/internal/remote"
	"muster/internal/state"
	mssh "muster/ssh"
)

// bigSize is that of the program in these tests: several times what is on its way
// at once.
const bigSize = 5<<20 + 12345

// big is muster here as near is, with a tail that no shell reads.
var big = sync.OnceValues(func() (string, error) {
	program, err := near()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	for i := 0; len(b) < bigSize; i++ { // no two blocks are the same
		b = fmt.Appendf(b, "# line %d\n", i)
	}
	file := filepath.Join(os.Getenv("HOME"), "big")
	if err := os.WriteFile(file, b[:bigSize], 0o700); err != nil {
		return "", err
	}
	return state.Binary(os.Getenv("HOME"), file)
})

// serveSFTP is a subsystem of a test's own, on standard input and output: real has
// the files that are there, memory
// shows other files than a shell does, liar takes what is written and forgets it,
// and hang takes nothing.
func serveSFTP(kind string) error {
	rw := struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}
	if kind == "real" {
		s, err := sftp.NewServer(rw)
		if err != nil {
			return err
		}
		return s.Serve()
	}
	h := sftp.InMemHandler()
	if kind != "memory" {
		h.FilePut = oddFiles(kind)
	}
	return sftp.NewRequestServer(rw, h).Serve()
}

type oddFiles string

func (o oddFiles) Filewrite(*sftp.Request) (io.WriterAt, error) { return o, nil }

func (o oddFiles) WriteAt(p []byte, _ int64) (int, error) {
	if o == "hang" {
		select {}
	}
	return len(p), nil
}

// carrier is a machine that has to be sent a big program.
type carrier struct {
	*machine
	log lines

	mu   sync.Mutex // guards seen
	seen []remote.Progress
	on   func(remote.Progress) // told of each
}

// lines keeps what is logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// plain is an sshd_config without a forced command.
const plain = "AllowTcpForwarding no"

func newCarrier(t *testing.T, client string, config ...string) *carrier {
	t.Helper()
	c := &carrier{machine: newMachine(t, config...)}
	c.o.Log = hclog.New(&hclog.LoggerOptions{Output: &c.log, Level: hclog.Info})
	c.o.Program = func(string, string, string) (string, error) { return big() }
	c.o.Progress = c.progress
	c.login.Client = client
	c.login.Command = "ssh -F " + filepath.Join(os.Getenv("HOME"), ".ssh", "config")
	c.sites = remote.New(c.o)
	return c
}

func (c *carrier) progress(p remote.Progress) {
	c.mu.Lock()
	c.seen = append(c.seen, p)
	c.mu.Unlock()
	if c.on != nil {
		c.on(p)
	}
}

// first is how much was there when the copy began.
func (c *carrier) first() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) == 0 {
		c.t.Fatal("nobody is told of a copy")
	}
	return c.seen[0].Done
}

// target is where the program is to be there.
func (c *carrier) target() string {
	c.t.Helper()
	program, err := big()
	if err != nil {
		c.t.Fatal(err)
	}
	return filepath.Join(c.login.State, "bin", filepath.Base(filepath.Dir(program)), "muster")
}

// arrived checks that the program is there, whole, and nothing else.
func (c *carrier) arrived() {
	c.t.Helper()
	target := c.target()
	b, err := os.ReadFile(target)
	if err != nil {
		c.t.Fatal(err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != filepath.Base(filepath.Dir(target)) {
		c.t.Errorf("%d bytes with the sum %x", len(b), sum)
	}
	for _, path := range []string{target, filepath.Dir(target), filepath.Dir(filepath.Dir(target))} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
			c.t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if parts := c.parts(); len(parts) > 0 {
		c.t.Errorf("left are %q", parts)
	}
	if c.o.Progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.seen[len(c.seen)-1]
	if !last.Over || last.Total != bigSize || last.Host != c.name() || !slices.ContainsFunc(c.seen, func(p remote.Progress) bool { return p.Done == bigSize }) {
		c.t.Errorf("the last that is told is %+v", last)
	}
}

// parts lists files of copies there that have not ended well.
func (c *carrier) parts() []string {
	list, _ := filepath.Glob(filepath.Join(c.login.State, "bin", "*", ".*"))
	return list
}

// fails opens the site, which must not work, and checks that nothing is where the
// program should be.
func (c *carrier) fails(ctx context.Context) error {
	c.t.Helper()
	_, err := c.sites.Open(ctx, c.login, "")
	if err == nil {
		c.t.Fatal("it works")
	}
	if _, err := os.Stat(c.target()); err == nil {
		c.t.Error("something is where the program should be")
	}
	return err
}

var clients = []string{mssh.Native, mssh.OpenSSH}

// TestCopyWays: whatever a server makes of SFTP, the program comes, by SFTP where
// that works and through a shell where it does not.
func TestCopyWays(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lines []string
		shell string // why it goes through a shell
	}{
		"in sshd":         {[]string{plain}, ""},
		"one session":     {[]string{"MaxSessions 1"}, ""},
		"a program":       {[]string{"Subsystem sftp " + self + " sftp real"}, ""},
		"odd umask":       {[]string{"Subsystem sftp internal-sftp -u 0777"}, ""},
		"none":            {[]string{"Subsystem other internal-sftp"}, "the server does not offer it"},
		"program missing": {[]string{"Subsystem sftp /nowhere/sftp-server"}, "start SFTP"},
		"read only":       {[]string{"Subsystem sftp internal-sftp -R"}, "by SFTP: permission denied"},
		"other folders":   {[]string{"Subsystem sftp " + self + " sftp memory"}, "by SFTP: file does not exist"},
		"nothing kept":    {[]string{"Subsystem sftp " + self + " sftp liar"}, "a copy arrived damaged"},
		"silent":          {[]string{"Subsystem sftp sleep 1000"}, "no answer within 4s"},
		"noise":           {nil, "start SFTP"}, // a forced command that greets
	} {
		for _, client := range clients {
			t.Run(name+" "+client, func(t *testing.T) {
				t.Parallel()
				m := newCarrier(t, client, c.lines...)
				if name == "silent" {
					m.o.CopyPatience = 12 * time.Second
					m.sites = remote.New(m.o)
				}
				m.open()
				m.arrived()
				if log := m.log.String(); c.shell == "" && log != "" || !strings.Contains(log, c.shell) {
					t.Errorf("the log has %q, want %q", log, c.shell)
				}
				if said := m.heard("copying"); len(said) > 0 {
					t.Errorf("said is %q", said)
				}
			})
		}
	}
}
