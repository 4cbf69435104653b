package remote_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/internal/prompt"
	"muster/internal/remote"
	"muster/ssh/relay"
)

// TestSite does all that a site can, and leaves nothing but the program.
func TestSite(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.login.State += " with blank"
	m.equip()
	var steps []string
	m.o.Step = func(what, _ string) { steps = append(steps, what) }
	m.sites = remote.New(m.o)
	site := m.open()
	if !slices.Equal(steps, []string{"login", "system", "program"}) || site.Hello().Build != build || site.User() == "" {
		t.Errorf("steps %q, hello %+v", steps, site.Hello())
	}
	if !strings.HasPrefix(site.Program(), m.login.State+"/bin/") || !strings.HasPrefix(site.Dir(), m.login.State+"/remote/run-1-") {
		t.Errorf("the program is %s and the folder %s", site.Program(), site.Dir())
	}
	ctx := t.Context()
	if err := site.MakeDir(ctx, site.Dir()+"/sub"); err != nil {
		t.Error(err)
	}
	if err := site.MakeDir(ctx, "/proc/none/sub"); err == nil || !strings.Contains(err.Error(), "make /proc/none/sub on "+m.login.Target.String()+": mkdir") {
		t.Errorf("a folder that cannot be made: %v", err)
	}
	file := site.Dir() + "/sub/it's \"a\" $file"
	if err := site.WriteFile(ctx, file, []byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if b, err := site.Tail(ctx, file, 4); string(b) != "two\n" || err != nil {
		t.Errorf("its end is %q, %v", b, err)
	}
	for dir, want := range map[string]bool{site.Dir(): true, file: false, site.Dir() + "/none": false} {
		if is, err := site.HasDir(ctx, dir); is != want || err != nil {
			t.Errorf("%s is a folder: %v, %v", dir, is, err)
		}
	}
	o, err := site.Run(ctx, []string{"sh", "-c", `cat; printf %s "$1" >&2; exit 3`, "sh", "a 'b' $c"}, "input")
	if err != nil || string(o.Stdout) != "input" || string(o.Stderr) != "a 'b' $c" || o.Code != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	p, err := site.Start(ctx, []string{"sh", "-c", "echo here; exec sleep 1000", m.login.State}, "/", site.Dir()+"/out")
	if err != nil {
		t.Fatal(err)
	}
	if alive, err := site.Alive(ctx, []relay.Process{p, {Pid: p.Pid, Start: "1"}}); err != nil || !slices.Equal(alive, []bool{true, false}) {
		t.Errorf("%v, %v", alive, err)
	}
	if err := site.Signal(ctx, p, "SIGKILL"); err != nil {
		t.Error(err)
	}
	eventually(t, "the process's end", func() bool {
		alive, err := site.Alive(ctx, []relay.Process{p})
		return err == nil && !alive[0]
	})
	if err := site.Remove(ctx, file); err != nil {
		t.Error(err)
	}
	m.sites.Close(ctx, nil)
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if _, err := m.sites.Open(ctx, m.login, ""); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := site.Run(ctx, []string{"true"}, ""); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestProgramIsCopiedOnce, and again if it is not what it was.
func TestProgramIsCopiedOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	program := ""
	for _, c := range []struct {
		what   string
		damage func() error
		copied int
	}{
		{"the first time", func() error { return nil }, 1},
		{"unchanged", func() error { return nil }, 0},
		{"cut off", func() error { return os.Truncate(program, 20) }, 1},
		{"not to be run", func() error { return os.Chmod(program, 0o600) }, 1},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		m.said = nil
		m.sites = remote.New(m.o)
		program = m.open().Program()
		if n := len(m.heard("copying muster to " + m.name())); n != c.copied {
			t.Errorf("%s: copied %d times, want %d", c.what, n, c.copied)
		}
		m.sites.Close(t.Context(), nil)
		if left, _ := filepath.Glob(filepath.Dir(program) + "/.*"); len(left) > 0 {
			t.Errorf("%s: left are %q", c.what, left)
		}
	}
}

// TestOneLogin for all that open a site at the same time.
func TestOneLogin(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	var opening sync.WaitGroup
	for range 5 {
		opening.Go(func() {
			if _, err := m.sites.Open(t.Context(), m.login, ""); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	if n := m.logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// TestRefusals: what is not as it must be is said, and nothing is left.
func TestRefusals(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho muster version 0.9\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	login := m.login
	for _, c := range []struct {
		change func(*remote.Login)
		want   string
	}{
		{func(l *remote.Login) { l.State = "$ODD/muster" }, "in which not every shell takes every character as it is: set state in the launcher"},
		{func(l *remote.Login) { l.State = "/a'b" }, "a script for every login shell must do without"},
		{func(l *remote.Login) { l.State = "$RELATIVE/muster" }, `would be "a/b/muster", which is no path from the root: set state in the launcher`},
		{func(l *remote.Login) { l.State = "/proc/muster" }, `state = "/a/folder/with/room"` + "` in the launcher"},
		{func(l *remote.Login) { l.Muster = "/nowhere/muster" }, "run /nowhere/muster --version: exit status 127"},
		{func(l *remote.Login) { l.Muster = "/etc/passwd" }, "cannot be run there"},
		{func(l *remote.Login) { l.Binary = other }, "is muster 0.9, and this is " + build + ": build it from the same source"},
		{func(l *remote.Login) { l.Target.Host = "nowhere.invalid" }, "find the address of nowhere.invalid"},
	} {
		m.login = login
		c.change(&m.login)
		m.refused(c.want)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestSomethingElse: a login that does not run what it is asked to is told of,
// with what it says.
func TestSomethingElse(t *testing.T) {
	t.Parallel()
	m := newMachine(t, `ForceCommand echo This account is for backups; exit 1`)
	m.refused("ran something else than it was asked to run (a ForceCommand in its sshd_config")
	m.refused("it said: This account is for backups")
}

// TestLeave: a link goes that nobody holds, unless something is left there; of two
// that have it open one may leave.
func TestLeave(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	needed := map[*remote.Site]bool{}
	m.o.Needed = func(s *remote.Site) bool { return needed[s] }
	m.sites = remote.New(m.o)
	idle := m.open()
	busy := m.login
	busy.Addresses = []string{"other"} // what makes it another
	site, err := m.sites.Open(t.Context(), busy, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := site.WriteFile(t.Context(), site.Dir()+"/f", nil); err != nil {
		t.Fatal(err)
	}
	works := func(s *remote.Site) error {
		_, err := s.Run(t.Context(), []string{"true"}, "")
		return err
	}
	if again := m.open(); again != idle {
		t.Error("opened twice it is two")
	}
	m.sites.Leave(idle)
	if err := works(idle); err != nil {
		t.Errorf("one of two has left: %v", err)
	}
	m.sites.Leave(idle)
	if err := works(idle); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("both have left: %v", err)
	}
	needed[site] = true
	m.sites.Leave(site)
	if err := works(site); err != nil {
		t.Errorf("something is left there: %v", err)
	}
	needed[site] = false
	m.sites.Release()
	if err := works(site); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("nothing is left there: %v", err)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if err := works(m.open()); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

// TestSharedHome: what came by one login stays when another's goes, though both lead to
// the same folder.
func TestSharedHome(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	first := m.open()
	m.login.Timeout = time.Minute // what makes it another login
	second := m.open()
	if err := first.MakeDir(t.Context(), first.Dir()+"/some.out"); err != nil {
		t.Fatal(err)
	}
	file := second.Dir() + "/some.join"
	if err := second.WriteFile(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	m.sites.Leave(first)
	if _, err := os.Stat(first.Dir()); !errors.Is(err, os.ErrNotExist) || !slices.Contains(m.left(), file) {
		t.Errorf("one of two has left: left are %q, %v", m.left(), err)
	}
	m.sites.Leave(second)
	if left, err := os.ReadDir(m.login.State + "/remote"); err != nil || len(left) > 0 {
		t.Errorf("both have left: left are %v, %v", left, err)
	}
}

// TestOpenWhileEnding: a link that is just ending removes nothing of the next.
func TestOpenWhileEnding(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	if err := site.WriteFile(t.Context(), site.Dir()+"/some.join", nil); err != nil {
		t.Fatal(err)
	}
	signal(t, site, syscall.SIGSTOP)
	var leaving sync.WaitGroup
	leaving.Go(func() { m.sites.Leave(site) })
	eventually(t, "the beginning of the end", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := site.Run(ctx, []string{"true"}, "")
		return errors.Is(err, remote.ErrClosed)
	})
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := m.sites.Open(short, m.login, ""); err == nil || !strings.Contains(err.Error(), "its last link has not ended yet") {
		t.Errorf("opened while it ends: %v", err)
	}
	signal(t, site, syscall.SIGCONT)
	again := m.open()
	file := again.Dir() + "/other.join"
	if err := again.WriteFile(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	leaving.Wait()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the end of the link before has removed it: %v", err)
	}
}

// TestCloseKeeps what is said to be needed still.
func TestCloseKeeps(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	file := site.Dir() + "/f"
	if err := site.WriteFile(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	m.sites.Close(t.Context(), func(s *remote.Site) bool { return s == site })
	if left := m.left(); !slices.Equal(left, []string{file}) {
		t.Errorf("left are %q", left)
	}
}

// TestPassphrase: it is asked for once, and used again when the link is made
// again; if it is wrong by then, it is asked for.
func TestPassphrase(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	key := filepath.Join(m.sshd.Dir, "id")
	change := func(from, to string) {
		if out, err := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-P", from, "-N", to, "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	change("", "first phrase")
	asked := make(chan prompt.Question, 10)
	answers := make(chan string, 10)
	socket := filepath.Join(m.o.SocketDir, "a")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prompt.Serve(l, func(_ context.Context, q prompt.Question) (string, error) {
		asked <- q
		return <-answers, nil
	}))
	answers <- "first phrase"
	site, err := m.sites.Open(t.Context(), m.login, socket)
	if err != nil {
		t.Fatal(err)
	}
	renewed := make(chan struct{}, 1)
	site.OnRenewal(func(context.Context) { renewed <- struct{}{} })
	again := func() {
		t.Helper()
		kill(t, site)
		select {
		case <-renewed:
		case <-time.After(late):
			t.Fatal("there is no new link")
		}
	}
	again()
	change("first phrase", "second phrase")
	answers <- "second phrase"
	again()
	close(asked)
	var texts []string
	for q := range asked {
		texts = append(texts, q.Text)
		if q.Echo || !strings.Contains(q.Text, "passphrase for key") {
			t.Errorf("asked is %+v", q)
		}
	}
	if len(texts) != 2 {
		t.Errorf("asked are %q", texts)
	}
}
