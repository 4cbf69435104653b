package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/terminal"
	mssh "muster/ssh"
)

// place is what a look at a machine found.
type place struct {
	os, arch string // in Go's words
	system   string // in uname's
	state    string // muster's folder there
	program  string // muster there
	present  bool   // the program is there, and is what it should be
	log      hclog.Logger
}

// Times that steps on the other side may take: login scripts load modules from
// slow file systems.
const (
	lookTime  = time.Minute
	maxNoise  = 64 << 10 // of what login scripts print
	markerLen = 12
)

// marker returns a word that no login script prints by itself.
func marker() string {
	var b [markerLen]byte
	rand.Read(b[:])
	return "muster-" + hex.EncodeToString(b[:])
}

// variable is one that a state folder's path may have.
var variable = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*)`)

// stateDir is the folder as a shell there is to expand it. A variable that is not
// set there is an error, not another folder.
func stateDir(state string) string {
	if state == "" {
		return "${MUSTER_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/muster}"
	}
	if rest, ok := strings.CutPrefix(state, "~"); ok {
		state = "$HOME" + rest
	}
	return variable.ReplaceAllString(state, "$${${1}:?}")
}

// run runs a script of one line in a shell there, whatever the login shell is,
// and returns what it printed after the noise of login scripts.
func run(ctx context.Context, c *mssh.Client, script string, stdin io.Reader) (string, error) {
	mark := marker()
	command, err := mssh.LoginCommand("echo " + mark + "; " + script)
	if err != nil {
		return "", err
	}
	var out mssh.Output
	if err := patiently(ctx, func() (err error) {
		out, err = c.Run(ctx, command, stdin)
		return err
	}); err != nil {
		return "", err
	}
	_, text, ok := strings.Cut(string(out.Stdout), mark+"\n")
	if !ok {
		return "", strange(string(out.Stdout), string(out.Stderr))
	}
	if out.Code != 0 {
		return text, fmt.Errorf("exit status %d: %s", out.Code, oneLine(string(out.Stderr)))
	}
	return text, nil
}

// patiently starts a session. A server that allows one at a time (MaxSessions 1)
// may not have noticed yet that the one before has ended.
func patiently(ctx context.Context, start func() error) error {
	const most = 5 * time.Second
	deadline := time.Now().Add(most)
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		err := start()
		if !errors.Is(err, mssh.ErrSession) || time.Now().Add(wait).After(deadline) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// errStrange says that a login ran something else than it was asked to run.
var errStrange = errors.New("the login ran something else than it was asked to run")

func strange(stdout, stderr string) error {
	said := oneLine(stdout + " " + stderr)
	if said == "" {
		said = "nothing"
	}
	return fmt.Errorf("%w (a ForceCommand in its sshd_config or a command= in authorized_keys does that, or a login script that ends the shell); it said: %s", errStrange, said)
}

func oneLine(s string) string {
	s = terminal.Safe(strings.Join(strings.Fields(s), " "))
	if len(s) > 300 {
		s = "..." + s[len(s)-300:]
	}
	return s
}

// look finds out what the machine is and where muster's folder on it would be.
func look(ctx context.Context, c *mssh.Client, state string, log hclog.Logger) (*place, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	text, err := run(ctx, c, `d="`+stateDir(state)+`"; echo "$(uname -sm)"; echo "$d"; `+guard, nil)
	if err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 3 {
		return nil, fmt.Errorf("look at the machine: %w", strange(text, ""))
	}
	p := &place{system: terminal.Safe(lines[0]), state: lines[1], log: log}
	p.os, p.arch = goNames(p.system)
	if !filepath.IsAbs(p.state) {
		return nil, fmt.Errorf("muster's folder there would be %q, which is no path from the root: set state in the launcher", p.state)
	}
	// It becomes a word of scripts that have to pass through any login shell.
	if _, err := mssh.LoginCommand(p.state); err != nil || strings.ContainsAny(p.state, "\"$`") {
		return nil, fmt.Errorf("muster's folder there would be %q, in which not every shell takes every character as it is: set state in the launcher", p.state)
	}
	if err := p.guarded(lines[2]); err != nil {
		return nil, err
	}
	return p, nil
}

// goNames translates uname -sm; names that are not known are empty. They become
// part of a file's name here, and a server may say anything.
func goNames(system string) (os, arch string) {
	kernel, machine, _ := strings.Cut(system, " ")
	os = map[string]string{"Linux": "linux", "Darwin": "darwin", "FreeBSD": "freebsd"}[kernel]
	arch = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le",
		"s390x": "s390x", "riscv64": "riscv64", "i686": "386", "armv7l": "arm"}[machine]
	return os, arch
}

// find looks whether the program with a SHA-256 sum is there, whole.
func (p *place) find(ctx context.Context, c *mssh.Client, sum string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	p.program = p.state + "/bin/" + sum + "/muster"
	// A sum that is not what it should be is taken again, before megabytes are
	// copied for it: on a busy machine the program that takes it may fail.
	for range 2 {
		text, err := run(ctx, c, `f="`+p.program+`"; d="${f%/*}"; `+guard+`if test -x "$f"; then echo there; `+sumOf+`; fi`, nil)
		if err != nil {
			return fmt.Errorf("look for %s: %w", p.program, err)
		}
		if err := p.guarded(text); err != nil {
			return err
		}
		there, got, _ := strings.Cut(text, "\n")
		if p.present = strings.TrimSpace(got) == sum; p.present || there != "there" {
			return nil
		}
	}
	return nil
}

// version runs the program there and returns what it calls itself.
func (p *place) version(ctx context.Context, c *mssh.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	text, err := run(ctx, c, `"`+p.program+`" --version`, nil)
	if err != nil && (strings.Contains(err.Error(), "exit status 126") || strings.Contains(strings.ToLower(err.Error()), "permission denied")) {
		return "", fmt.Errorf("%s cannot be run there: %w; the file system may be mounted noexec: `state = \"/another/folder\"` in the launcher names a place on another one", p.program, err)
	}
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", p.program, err)
	}
	return strings.TrimPrefix(oneLine(text), "muster version "), nil
}

// startRelay starts the relay there and returns a connection with it, at the first
// byte that it sends.
func (p *place) startRelay(ctx context.Context, c *mssh.Client) (*wire, error) {
	mark := marker()
	command, err := mssh.LoginCommand(`echo ` + mark + `; exec "` + p.program + `" relay`)
	if err != nil {
		return nil, err
	}
	// The session outlives ctx, unless that ends before the relay is there.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	soon, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	there := context.AfterFunc(soon, end)
	var s *mssh.Session
	if err := patiently(soon, func() (err error) {
		s, err = c.Exec(life, command)
		return err
	}); err != nil {
		end()
		return nil, cmp.Or(soon.Err(), err)
	}
	in := bufio.NewReaderSize(s, 64<<10)
	noise, err := skip(in, []byte(mark+"\n"))
	if err == nil && there() {
		return &wire{in: in, Session: s, end: end}, nil
	}
	end()
	s.Close()
	return nil, cmp.Or(soon.Err(), strange(string(noise), s.Stderr()))
}

// skip reads up to the end of mark and returns what came before it.
func skip(in *bufio.Reader, mark []byte) (noise []byte, err error) {
	for !bytes.HasSuffix(noise, mark) {
		if len(noise) > maxNoise {
			return noise, errors.New("login scripts print too much")
		}
		b, err := in.ReadByte()
		if err != nil {
			return noise, err
		}
		noise = append(noise, b)
	}
	return noise, nil
}

// wire is a session whose first bytes have been read.
type wire struct {
	in *bufio.Reader
	*mssh.Session
	end context.CancelFunc

	writing sync.Mutex // held by whoever writes; guards shut
	shut    bool
}

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.shut {
		return 0, net.ErrClosed
	}
	return w.Session.Write(p)
}

// leaveTime is how long a relay may take to go that has been told to.
const leaveTime = 2 * time.Second

// Close ends the relay's input, which is what it lives by, and waits a moment for
// it to go: nothing of muster's is left there when this returns, if the link is up.
// If it is not, a write may hang that ends with the connection.
func (w *wire) Close() error {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		w.writing.Lock()
		w.shut = true
		w.writing.Unlock()
		if w.CloseWrite() == nil {
			io.Copy(io.Discard, w.Session)
			w.Wait()
		}
	}()
	select {
	case <-gone:
	case <-time.After(leaveTime):
	}
	w.end()
	return w.Session.Close()
}
