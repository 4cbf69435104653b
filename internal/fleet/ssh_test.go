package fleet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/fleet"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/internal/testbed"
	mssh "muster/ssh"
)

// machine is one that is reached by SSH, and is this one.
type machine struct {
	t     *testing.T
	dir   string
	login remote.Login
}

var (
	hosts      int
	hostsMutex sync.Mutex // guards hosts and ssh_config
)

// newMachine starts an SSH server.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if missing := testbed.Missing("sshd", "ssh-keygen"); missing != "" && os.Getenv("CI") != "" {
		t.Fatalf("this needs %s", missing)
	} else if missing != "" {
		t.Skipf("needs %s", missing)
	}
	hostsMutex.Lock()
	defer hostsMutex.Unlock()
	hosts++
	m := &machine{t: t, dir: t.TempDir()}
	m.login = remote.Login{Target: mssh.Target{Host: fmt.Sprintf("node%d", hosts)}, State: filepath.Join(m.dir, "far")}
	sshd, err := testbed.StartSSHD(filepath.Join(m.dir, "sshd"), testbed.SSHDOptions{Name: m.login.Target.Host, Env: []string{"PATH=" + m.dir + "/bin:/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sshd.Stop)
	config := filepath.Join(os.Getenv("HOME"), ".ssh", "config")
	before, _ := os.ReadFile(config)
	more, err := os.ReadFile(filepath.Join(sshd.Dir, "ssh_config"))
	if err == nil {
		err = os.WriteFile(config, append(before, more...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bed returns a fleet whose workers join with a word.
func (m *machine) bed(join string) *bed {
	m.t.Helper()
	f := newBed(m.t, &scheduler{})
	credentials := f.Credentials
	f.Credentials = func(ctx context.Context, l fleet.Launch) (fleet.Credentials, error) {
		c, err := credentials(ctx, l)
		if l.Place.Here() || l.Site == nil || l.Site.Login().Target != m.login.Target {
			m.t.Errorf("credentials are wanted for %+v", l)
		}
		c.Join = func() string { return join }
		return c, err
	}
	f.Sites = remote.New(remote.Options{Run: "run-1", Build: build, SocketDir: m.dir, Log: hclog.NewNullLogger(), Say: f.Say,
		Program: func(string, string, string) (string, error) { return near() }, Needed: f.On})
	m.t.Cleanup(func() { f.Sites.Close(context.Background(), f.On) })
	return f
}

// processes are those on the machine that are muster's workers.
func (m *machine) processes() []string {
	return testbed.Running(regexp.MustCompile(regexp.QuoteMeta(m.login.State) + `.*\.join`))
}

// command puts a command there, before others of its name.
func (m *machine) command(name, script string) {
	m.t.Helper()
	err := os.MkdirAll(m.dir+"/bin", 0o700)
	if err == nil {
		err = os.WriteFile(m.dir+"/bin/"+name, []byte("#!/bin/sh\n"+script+"\n"), 0o700)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// left are the files there but for the program.
func (m *machine) left() []string {
	var list []string
	filepath.WalkDir(m.login.State, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/bin/") {
			list = append(list, path)
		}
		return nil
	})
	return list
}

// plan starts workers there.
func (m *machine) plan(n int) *plan.Plan {
	return &plan.Plan{Profile: "p", Launcher: "s", Poll: time.Second, Kind: &plan.SSH{Hosts: []remote.Login{m.login}, PerHost: n, Workdir: m.dir}}
}

// late is how long a test waits for what should come soon.
const late = 30 * time.Second

// eventually polls where the system has no event to wait for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(late); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestSSH starts workers, says how they stand, and ends them, also such as do not heed.
func TestSSH(t *testing.T) {
	for _, join := range []string{"go", "stay"} {
		t.Run(join, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			f := m.bed(join)
			ids := f.must(t, m.plan(3))
			if len(ids) != 1 || len(m.processes()) != 3 || !strings.HasPrefix(ids[0], "s-") {
				t.Fatalf("%v, %v", ids, m.processes())
			}
			r := f.records(t)[0]
			if r.ID != ids[0] || len(r.Processes) != 3 || r.Workers != 3 || r.Kind != "ssh" {
				t.Errorf("%+v", r)
			}
			stop := f.watch(t, ignore)
			eventually(t, "that they run", func() bool { return f.Standing()[0].Running == 3 })
			stop()
			if n, known := f.Expected(ids[0]); n != 3 || !known {
				t.Errorf("%d are expected", n)
			}
			fate := f.Fate(t.Context(), ids[0], ids[0]+".2.1")
			if fate.Text != "its process still runs on "+m.login.Name() {
				t.Errorf("%+v", fate)
			}
			commands, _ := f.Left()
			if argv := strings.Join(commands[0], " "); !strings.Contains(argv, fmt.Sprintf("kill %d ", r.Processes[0].Pid)) {
				t.Errorf("a person would type %s", argv)
			}
			if err := f.Cancel(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if len(m.processes())+len(m.left()) > 0 {
				t.Errorf("left are %v and %v", m.processes(), m.left())
			}
			f.nothingLeft(t)
			f.release(t, m)
		})
	}
}

// release checks that the link is not kept.
func (f *bed) release(t *testing.T, m *machine) {
	t.Helper()
	site, err := f.Sites.Open(t.Context(), m.login, "")
	if err != nil {
		t.Fatal(err)
	}
	if f.On(site) {
		t.Error("the link is needed yet")
	}
	f.Sites.Leave(site)
	if _, err := site.HasDir(t.Context(), "/"); err == nil {
		t.Error("the link is kept")
	}
}

// TestSSHThatFails: a worker that ends and never joined is told with its output, which
// stays with the link until the end.
func TestSSHThatFails(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	f := m.bed("fail")
	ids := f.must(t, m.plan(2))
	stop := f.watch(t, ignore)
	var said string
	eventually(t, "that they have ended", func() bool {
		said += f.words()
		return strings.Contains(said, "never joined") || strings.Contains(said, "had never")
	})
	stop()
	want := "worker " + ids[0] + ".1 on " + m.login.Name() + " ended and had never joined, nor did 1 other; its output ends:\n  no such module\n  (" + f.records(t)[0].Output + "/1.out on " + m.login.Name() + ")"
	if !strings.HasSuffix(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	if fate := f.Fate(t.Context(), ids[0], ids[0]+".1"); fate.Text != "its process ended on "+m.login.Name() {
		t.Errorf("%+v", fate)
	}
	if err := f.Cancel(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestSSHTakeBack: another process ends what records name, and leaves the link.
func TestSSHTakeBack(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	f := m.bed("go")
	f.must(t, m.plan(2))
	f.must(t, m.plan(1))
	other := m.bed("")
	records := f.records(t)
	elsewhere := *records[0]
	elsewhere.Processes = append([]fleet.Process(nil), elsewhere.Processes...)
	elsewhere.Processes[0].Host = "another"
	if o := other.TakeBack(t.Context(), []*fleet.Record{&elsewhere}, ""); o[0].Err == nil || !strings.Contains(o[0].Err.Error(), "they run on another") {
		t.Errorf("%+v", o)
	}
	if n := len(m.processes()); n != 3 || len(f.records(t)) != 2 {
		t.Errorf("%d workers are left", n)
	}
	for _, o := range other.TakeBack(t.Context(), records, "") {
		if o.Err != nil {
			t.Errorf("%+v", o)
		}
	}
	if len(m.processes())+len(m.left()) > 0 {
		t.Errorf("left are %v and %v", m.processes(), m.left())
	}
	f.nothingLeft(t)
	other.release(t, m)
}

// TestSSHWrapped runs workers by a command that knows how.
func TestSSHWrapped(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	f := m.bed("go")
	p := m.plan(2)
	names, release, err := f.Names(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	n := names[0]
	if n.Launch != "s-"+n.Unique || !strings.HasPrefix(n.JoinFile, m.login.State) || !strings.HasPrefix(n.Muster, m.login.State+"/bin/") {
		t.Errorf("names are %+v", n)
	}
	p.Whose, p.Names = plan.Wrapped, names
	k := p.Kind.(*plan.SSH)
	for range 2 {
		k.Commands = append(k.Commands, "W=$(echo yes); echo $W; exec "+n.Muster+" worker --join-file "+n.JoinFile)
	}
	ids, err := f.Submit(t.Context(), p, "")
	release()
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	eventually(t, "their output", func() bool {
		b, _ := os.ReadFile(f.records(t)[0].Output + "/2.out")
		return string(b) == "yes\nhere\n"
	})
	if err := f.Cancel(t.Context(), ""); err != nil || len(m.processes()) > 0 {
		t.Errorf("%v, left are %v", err, m.processes())
	}
}

// TestSSHRefused: nothing is left of a launch that cannot be.
func TestSSHRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	f := m.bed("go")
	p := m.plan(1)
	p.Kind.(*plan.SSH).Workdir = m.dir + "/nowhere"
	if _, err := f.submit(t.Context(), p); err == nil || !strings.Contains(err.Error(), "nowhere, where you are, is no directory on "+m.login.Name()) {
		t.Error(err)
	}
	p = m.plan(1)
	p.Muster = m.dir + "/no-muster"
	if _, err := f.submit(t.Context(), p); err == nil || !strings.Contains(err.Error(), "start a worker on ssh://"+m.login.Name()) {
		t.Error(err)
	}
	f.nothingLeft(t)
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	f.release(t, m)
}

// TestClusterBehindSSH: the scheduler's commands are run there, and the files are there.
func TestClusterBehindSSH(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.command("sbatch", "cat >"+m.dir+"/script; echo 7")
	m.command("scancel", "echo not now >&2; exit 1")
	f := m.bed("go")
	p := job("")
	p.Kind.(*plan.Cluster).Login = m.login
	ids := f.must(t, p)
	r := f.records(t)[0]
	script, _ := os.ReadFile(m.dir + "/script")
	if len(ids) != 1 || ids[0] != "7" || !strings.HasPrefix(r.JoinFile, m.login.State) || !strings.Contains(string(script), "--join-file "+r.JoinFile) || !strings.Contains(string(script), m.login.State+"/bin/") {
		t.Errorf("%v, %+v, %s", ids, r, script)
	}
	if s := f.Standing()[0]; s.Endpoint != "slurm on "+m.login.Name() {
		t.Errorf("%+v", s)
	}
	commands, _ := f.Left()
	if argv := commands[0]; argv[0] != "ssh" || argv[len(argv)-1] != "scancel 7" {
		t.Errorf("a person would type %q", argv)
	}
	site, err := f.Sites.Open(t.Context(), m.login, "")
	if err != nil {
		t.Fatal(err)
	}
	if !f.On(site) {
		t.Error("the link is not needed")
	}
	f.Sites.Leave(site)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Cancel(ctx, ""); err == nil || !strings.Contains(err.Error(), "job 7 may still be in the queue: scancel: exit status 1: not now; `ssh "+m.login.Name()+" 'scancel 7'`") || len(f.records(t)) != 1 {
		t.Errorf("%v", err)
	}
}

// TestOutputOfAJobThatEndsBehindSSH: its folder stays there, with the run's, so that a
// scheduler can put into it what the job has printed. A later run removes it, and
// nothing that another's workers may need.
func TestOutputOfAJobThatEndsBehindSSH(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.command("qsub", "cat >/dev/null; echo 7.server")
	m.command("qstat", `echo '{"Jobs": {"7.server": {"job_state": "E"}}}'`)
	m.command("qdel", "exit 0")
	f := m.bed("go")
	p := jobs("pbs", "")
	p.Kind.(*plan.Cluster).Login = m.login
	f.must(t, p)
	f.join("7")
	output := f.records(t)[0].Output
	if err := f.Cancel(t.Context(), ""); err != nil {
		t.Error(err)
	}
	f.Sites.Close(t.Context(), f.On)
	f.nothingLeft(t)
	if _, err := os.Stat(output); err != nil || len(m.left()) > 0 {
		t.Errorf("%v, left are %v", err, m.left())
	}
	runs := filepath.Dir(filepath.Dir(output))
	before := filepath.Join(runs, "before") // as another run's
	if err := os.Rename(filepath.Dir(output), before); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"waits/7.join", "old/7.out/1.out", "new/7.out/1.out"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(runs, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(runs, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{before + "/" + filepath.Base(output), before, runs + "/waits/7.join", runs + "/waits", runs + "/old/7.out/1.out", runs + "/old/7.out", runs + "/old"} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	g := m.bed("go on")
	g.must(t, p)
	entries, err := os.ReadDir(runs)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Contains(names, "waits") || !slices.Contains(names, "new") || slices.Contains(names, "old") || slices.Contains(names, "before") {
		t.Errorf("left are %q", names)
	}
}

// TestForeignBySSH: the user's own client starts them, and there is no record.
func TestForeignBySSH(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	f := m.bed("")
	f.Credentials = func(context.Context, fleet.Launch) (fleet.Credentials, error) {
		t.Error("credentials are wanted")
		return fleet.Credentials{}, nil
	}
	p := m.plan(1)
	p.Whose = plan.Foreign
	k := p.Kind.(*plan.SSH)
	k.Commands = []string{"echo started >" + m.dir + "/foreign"}
	k.Hosts[0].Command = "ssh -F " + os.Getenv("HOME") + "/.ssh/config"
	if ids, err := f.submit(t.Context(), p); err != nil || len(ids) != 0 {
		t.Error(ids, err)
	}
	eventually(t, "that it runs", func() bool { b, _ := os.ReadFile(m.dir + "/foreign"); return len(b) > 0 })
	if said := f.words(); !strings.HasPrefix(said, "launcher s: 1 worker on the way by ssh ") {
		t.Errorf("said %q", said)
	}
	f.nothingLeft(t)
}
