package host_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/cli"
	"muster/internal/config"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/proctree"
	"muster/task"
)

// TestMain makes the test binary the program that a host starts its workers with.
func TestMain(m *testing.M) {
	if socket := os.Getenv(envAsk); socket != "" {
		ask(socket)
		return
	}
	if len(os.Args) > 1 && (os.Args[1] == "worker" || os.Args[1] == "slot") {
		os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// home is where hosts of a test keep what they keep.
type home struct {
	t              *testing.T
	state, sockets string
}

// newHome makes a home, and checks at the end of the test that its hosts have left
// no process and no file.
func newHome(t *testing.T) *home {
	t.Helper()
	sockets, err := os.MkdirTemp("", "m") // sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	m := &home{t: t, state: t.TempDir(), sockets: sockets}
	t.Cleanup(func() {
		m.checkEmpty()
		os.RemoveAll(sockets)
	})
	return m
}

func (m *home) checkEmpty() {
	m.t.Helper()
	if pids, err := proctree.Descendants(os.Getpid()); err != nil || len(pids) > 0 {
		m.t.Errorf("processes are left: %v, %v", pids, err)
	}
	for _, dir := range []string{m.sockets, filepath.Join(m.state, "runs")} {
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && path != dir {
				m.t.Errorf("%s is left", path)
			}
			return nil
		})
	}
}

// open opens a host; the test closes it.
func (m *home) open(change ...func(*host.Options)) *host.Host {
	m.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	opt := host.Options{StateDir: m.state, SocketDir: m.sockets, Log: hclog.New(&hclog.LoggerOptions{Output: m.t.Output(), Level: hclog.Warn}),
		Say: m.t.Logf, Stderr: os.Stderr, Worker: []string{exe, "worker"}}
	for _, c := range change {
		c(&opt)
	}
	h, err := host.Open(opt)
	if err != nil {
		m.t.Fatal(err)
	}
	return h
}

func (m *home) shut(h *host.Host) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Close(ctx, 10*time.Second); err != nil {
		m.t.Error(err)
	}
}

// up adds a profile with so many workers on this machine.
func (m *home) up(h *host.Host, name string, workers int) *host.Profile {
	m.t.Helper()
	p, err := h.Up(m.t.Context(), host.Spec{Name: name, Workers: workers, Slots: 1, LostRetries: 10})
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// run runs a command as a task of the profile and returns what it resolved to.
func (m *home) run(p *host.Profile, argv ...string) *dispatcher.Done {
	m.t.Helper()
	f, err := p.Pool.Submit(m.t.Context(), task.Spec{Argv: argv, Dir: "/"}, dispatcher.FutureOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-f.Done():
	case <-time.After(time.Minute):
		m.t.Fatal("a task does not end")
	}
	done, _, _ := f.Result(0)
	return done
}

// worker waits for a worker other than those of not and returns its process.
func (m *home) worker(p *host.Profile, not ...int) int {
	m.t.Helper()
	deadline := time.After(time.Minute)
	for {
		_, _, changed := p.Pool.Workers()
		for _, w := range p.Pool.Status().Workers {
			if len(not) == 0 || w.Pid != not[0] {
				return w.Pid
			}
		}
		select {
		case <-changed:
		case <-deadline:
			m.t.Fatal("no worker has come")
		}
	}
}

// TestTwoOfOneHome: two dispatchers of one state directory know nothing of each
// other, and the end of one is not the end of the other.
func TestTwoOfOneHome(t *testing.T) {
	m := newHome(t)
	// One process is one host's to clear, unless it is shared.
	shared := func(o *host.Options) { o.Shared = true }
	a, b := m.open(shared), m.open(shared)
	pa, pb := m.up(a, "p", 1), m.up(b, "p", 1)
	if m.worker(pa) == m.worker(pb) || a.Run.ID == b.Run.ID {
		t.Error("they share a worker or a run")
	}
	m.shut(a)
	if done := m.run(pb, "true"); done.Err != nil {
		t.Errorf("the other one's task: %v", done.Err)
	}
	m.shut(b)
}

// TestSocketInUse: who listens on a socket keeps it, and what nobody listens on is
// removed.
func TestSocketInUse(t *testing.T) {
	m := newHome(t)
	path := filepath.Join(m.sockets, "x.sock")
	l, err := host.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.RemoveStale(path); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a socket in use: %v", err)
	}
	if _, err := host.ListenUnix(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	l.Close()
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if err := host.RemoveStale(path); err != nil {
		t.Error(err)
	}
	if err := host.RemoveStale(path); err != nil {
		t.Errorf("a socket that is not there: %v", err)
	}
}

// TestJoins: those that have expired are dropped, and no id is given twice.
func TestJoins(t *testing.T) {
	m := newHome(t)
	h := m.open()
	p := m.up(h, "p", 0)
	join := func(p *host.Profile, valid time.Duration) string {
		t.Helper()
		j, _, err := p.NewJoin(host.JoinWish{Uses: 1, Valid: valid})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	first, second := join(p, time.Nanosecond), join(p, time.Hour)
	if !h.RevokeJoin(second) || h.RevokeJoin(second) {
		t.Error("a join string is not revoked once")
	}
	third := join(p, 0)
	if list := h.Joins(); len(list) != 1 || list[0].ID != third {
		t.Errorf("listed are %+v, want only %s", list, third)
	}
	if h.RevokeJoin(first) {
		t.Errorf("%s has expired and is still there", first)
	}
	if first == second || second == third || first == third {
		t.Errorf("ids come again: %s, %s, %s", first, second, third)
	}
	if err := h.Down(t.Context(), p); err != nil {
		t.Error(err)
	}
	if _, _, err := p.NewJoin(host.JoinWish{Uses: 1}); !errors.Is(err, dispatcher.ErrClosed) {
		t.Errorf("a join string for a profile that is gone: %v", err)
	}
	if _, err := p.StartLocal(1, nil); !errors.Is(err, dispatcher.ErrClosed) {
		t.Errorf("a worker for a profile that is gone: %v", err)
	}
	m.shut(h)
}

// slurm puts a Slurm first in PATH whose sbatch does as a script says, and returns
// a plan for it. Its jobs are files in dir/jobs.
func slurm(t *testing.T, sbatch string) (*plan.Draft, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sbatch":  "cat >/dev/null\n" + sbatch,
		"scancel": "rm -f jobs/$1\n",
		"squeue":  "for job in $(ls jobs); do echo \"$job|PENDING|Priority||$(cat jobs/$job)\"; done\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ncd "+dir+"\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "jobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	f, err := config.Parse("muster.hcl", []byte("launcher \"cluster\" \"c\" {\nscheduler = \"slurm\"\npoll = \"1s\"\n}"), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	d, err := plan.New(f.Evaluate(config.Options{}), f, f.Launchers[0], plan.Wish{Times: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d, dir
}

// launch launches a draft.
func launch(p *host.Profile, d *plan.Draft) error {
	names, err := p.Names(context.Background(), d.Plan, "")
	if err != nil {
		return err
	}
	pl, err := d.Named(names)
	if err != nil {
		return err
	}
	_, err = p.Launch(context.Background(), []*plan.Plan{pl}, "")
	return err
}

// TestDownDuringLaunch: a submission under way is given up, and what it may have
// come to is taken back.
func TestDownDuringLaunch(t *testing.T) {
	m := newHome(t)
	h := m.open()
	p := m.up(h, "p", 1)
	draft, dir := slurm(t, "echo job >jobs/7\necho >under-way\nexec sleep 1000\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "under-way"), 0o600); err != nil {
		t.Fatal(err)
	}
	launched := make(chan error, 1)
	go func() { launched <- launch(p, draft) }()
	if _, err := os.ReadFile(filepath.Join(dir, "under-way")); err != nil { // waits for sbatch
		t.Fatal(err)
	}
	down := h.Down(t.Context(), p)
	if err := <-launched; !errors.Is(err, dispatcher.ErrClosed) {
		t.Errorf("the launch: %v", err)
	}
	if err := launch(p, draft); !errors.Is(err, dispatcher.ErrClosed) {
		t.Errorf("a launch after it: %v", err)
	}
	if down != nil {
		t.Errorf("down: %v", down)
	}
	m.shut(h)
}

// TestCloseDuringEverything: whatever is under way comes to an end, in an orderly
// way or with ErrClosed, and nothing is left.
func TestCloseDuringEverything(t *testing.T) {
	draft, _ := slurm(t, "echo $$\necho job >jobs/$$\n")
	for round := range 4 {
		m := newHome(t)
		h := m.open()
		p := m.up(h, "p", 1)
		m.worker(p)
		var under sync.WaitGroup
		over, submitted := make(chan struct{}), make(chan struct{}, 1)
		// again does something until the host has closed; it may fail as what is
		// closed does.
		again := func(do func(i int) error) {
			under.Go(func() {
				for i := 0; ; i++ {
					err := do(i)
					if err != nil && !errors.Is(err, dispatcher.ErrClosed) && !errors.Is(err, dispatcher.ErrExists) {
						t.Errorf("while the host closes: %v", err)
					}
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		again(func(i int) error {
			_, err := h.Up(context.Background(), host.Spec{Name: fmt.Sprint("up", i%3), Workers: 1, Slots: 1, Everywhere: []string{"true"}})
			return err
		})
		again(func(int) error {
			if p := h.Profile("up1"); p != nil {
				return h.Down(context.Background(), p)
			}
			return nil
		})
		again(func(i int) error {
			if i > 10 {
				return nil
			}
			_, err := p.StartLocal(1, nil)
			return err
		})
		again(func(int) error {
			_, _, err := p.NewJoin(host.JoinWish{Uses: 1, Valid: time.Millisecond, Elsewhere: true})
			h.Joins()
			h.URLs()
			return err
		})
		again(func(int) error { return launch(p, draft) })
		again(func(int) error {
			h.Watch(nil)
			h.Profile("p")
			f, err := p.Pool.Submit(context.Background(), task.Spec{Argv: []string{"true"}, Dir: "/"}, dispatcher.FutureOptions{})
			if err == nil {
				<-f.Done()
				h.D.Forget(f)
			}
			select {
			case submitted <- struct{}{}:
			default: // nobody counts any more
			}
			return err
		})
		for range 2 * round { // each round meets other things
			<-submitted
		}
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(func() { m.shut(h) })
		}
		closing.Wait()
		close(over)
		under.Wait()
		m.checkEmpty()
	}
}

// TestLeave: the last way out ends everything, and whoever waits for a worker is
// told how it ended. The killed workers' scratch folders go with them.
func TestLeave(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for range 10 {
		m := newHome(t)
		h := m.open()
		p := m.up(h, "p", 3)
		m.worker(p)
		if err := h.Leave(); err != nil {
			t.Error(err)
		}
		if pids, err := proctree.Descendants(os.Getpid()); err != nil || len(pids) > 0 {
			t.Errorf("it left %v, %v", pids, err)
		}
		if left, _ := filepath.Glob(filepath.Join(tmp, "muster-*")); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
		m.shut(h)
	}
}
