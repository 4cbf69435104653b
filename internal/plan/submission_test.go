package plan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/plan"
	"muster/internal/remote"
	mssh "muster/ssh"
)

// TestLines are what a person would paste.
func TestLines(t *testing.T) {
	const host = "remotes = [\"ssh://user@host:222\"]\nmuster = \"/m\"\n"
	const join = "ssh -o ConnectTimeout=10 -p 222 user@host 'exec sh -c '\\''umask 077; cat >.JOIN_FILE'\\''' <JOIN_FILE\n"
	for name, c := range map[string]struct {
		kind, settings string
		wish           plan.Wish
		want           string
	}{
		"one": {"ssh", host, once, join + `ssh -o ConnectTimeout=10 -fT -p 222 user@host 'exec sh -c '\''exec /m worker --join-file .JOIN_FILE'\'''` + "\n"},
		"three": {"ssh", host + "slots = 2\nworkdir = \"/w\"\ntimeout = \"3s\"", plan.Wish{Workers: 3},
			strings.Replace(join, "=10", "=3", 1) + `ssh -o ConnectTimeout=3 -fT -p 222 user@host 'exec sh -c '\''for i in x x x; do /m worker --join-file .JOIN_FILE --slots 2 --cd /w & done; wait'\'''` + "\n"},
		"by a tunnel of two": {"ssh", host + "tunnel = true", plan.Wish{Workers: 2, Port: "5555"}, join +
			`ssh -R 127.0.0.1:5555:127.0.0.1:5555 -o ExitOnForwardFailure=yes -o ConnectTimeout=10 -fT -p 222 user@host 'exec sh -c '\''for i in x x; do /m worker --join-file .JOIN_FILE & done; wait'\'''` + "\n"},
		"a copy": {"ssh", "remotes = [\"ssh://host\"]", once,
			`ssh -o ConnectTimeout=10 host 'exec sh -c '\''umask 077; d=".local/state/muster/bin/SHA"; test -x "$d/muster" || { mkdir -p "$d" && cat >"$d/new" && chmod 700 "$d/new" && mv "$d/new" "$d/muster"; }'\''' <bin/SHA/muster` + "\n" +
				`ssh -o ConnectTimeout=10 host 'exec sh -c '\''umask 077; cat >.JOIN_FILE'\''' <JOIN_FILE` + "\n" +
				`ssh -o ConnectTimeout=10 -fT host 'exec sh -c '\''exec ".local/state/muster/bin/SHA/muster" worker --join-file .JOIN_FILE'\'''` + "\n"},
		"wrapped": {"ssh", host + "worker_command = \"nice ${worker.command}\"", plan.Wish{Workers: 2},
			join + `ssh -o ConnectTimeout=10 -fT -p 222 user@host 'exec sh -c '\''nice /m worker --join-file .JOIN_FILE & nice /m worker --join-file .JOIN_FILE & wait'\'''` + "\n"},
		"foreign": {"ssh", host + "worker_command = \"dask worker\"\nvia = launcher.ssh.middle", plan.Wish{Workers: 2},
			`ssh -o ConnectTimeout=10 -J me@outer:2222,middle -fT -p 222 user@host 'dask worker & dask worker & wait'` + "\n"},
		// What R mirai's launch_remote() gives to sh, one login for each.
		"mirai": {"ssh", host + `bare = true
worker_command = "Rscript -e 'mirai::daemon(\"tcp://h:5555\")'"`, plan.Wish{Workers: 2},
			strings.Repeat(`ssh -o ConnectTimeout=10 -fTp 222 user@host 'Rscript -e '\''mirai::daemon("tcp://h:5555")'\'''`+"\n", 2)},
		"mirai by a tunnel": {"ssh", "remotes = [\"ssh://h\"]\nbare = true\ntunnel = true\nworker_command = \"x\"", plan.Wish{Times: 1, Port: "5555"},
			`ssh -R 5555:127.0.0.1:5555 -o ConnectTimeout=10 -fTp 22 h 'x'` + "\n"},
		"a cluster": {"cluster", "scheduler = \"lsf\"\nvia = launcher.ssh.outer\nbare = true\nworker_command = \"x\"\ncommand = \"bsub -q a\"", once,
			"ssh -p 2222 me@outer 'bsub -q a'<<'EOF'\n#!/bin/sh\n\nx\nEOF\n"},
	} {
		p, err := draft(t, c.kind, c.settings, c.wish).Pasted("bin/SHA/muster")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		list, err := p.Submissions()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, workers := "", 0
		for _, s := range list {
			got += s.Shell()
			workers += s.Workers
		}
		if got != c.want || workers != p.Workers() {
			t.Errorf("%s, %d workers:\n%s\nwant %d:\n%s", name, workers, got, p.Workers(), c.want)
		}
	}
}

// TestStateIsExpandedThere: a folder that a shell there is to expand stays one
// word of the lines that are pasted.
func TestStateIsExpandedThere(t *testing.T) {
	b := newBench(t)
	for state, dir := range map[string]string{"~/s": b.dir + "/home/s", "$SCRATCH/s": b.dir + "/a b/s", "": b.dir + "/home/.local/state/muster"} {
		settings := "remotes = [\"ssh://h\"]\n"
		if state != "" {
			settings += "state = \"" + state + "\"\n"
		}
		d := draft(t, "ssh", settings, once)
		p, err := d.Named([]plan.Names{{Muster: b.muster, JoinFile: b.dir + "/JOIN_FILE"}})
		if err != nil {
			t.Fatal(err)
		}
		list, err := p.Submissions()
		if err != nil {
			t.Errorf("%s: %v", state, err)
			continue
		}
		for _, s := range list {
			words := b.paste(t, s)
			b.run(t, words[len(words)-1], s.File)
		}
		if st, err := os.Stat(dir + "/bin/SHA/muster"); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: the program there is %v, %v", state, st, err)
		}
		if got := b.saw(t); len(got) != 1 || !slices.Equal(got[0], []string{"worker", "--join-file", ".JOIN_FILE"}) {
			t.Errorf("%s: the workers have been given %q", state, got)
		}
	}
}

// bench is a machine that is logged in to by an ssh which only says what it was
// given, and a muster there that does the same.
type bench struct{ dir, muster string }

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	b.muster = b.dir + "/SHA/muster"
	for _, dir := range []string{"bin", "SHA", "home", "saw", "a b"} {
		if err := os.Mkdir(filepath.Join(b.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"bin/ssh": "#!/bin/sh\nprintf '%s\\0' \"$@\"\nexec cat\n", "JOIN_FILE": "", "home/.JOIN_FILE": "",
		"SHA/muster": "#!/bin/sh\nprintf '%s\\0' \"$@\" >$SAW/$$\n", "bin/submit": "#!/bin/sh\nprintf '%s\\0' \"$@\"\nexec cat\n"} {
		if err := os.WriteFile(filepath.Join(b.dir, file), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) sh(line string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir = b.dir + "/home"
	cmd.Env = []string{"PATH=" + b.dir + "/bin:/usr/bin:/bin", "HOME=" + b.dir + "/home", "SCRATCH=" + b.dir + "/a b", "SAW=" + b.dir + "/saw"}
	return cmd
}

// paste gives a submission to a shell, in which ssh gets the words that it would
// be given without one, which are returned, and the same input.
func (b *bench) paste(t *testing.T, s *plan.Submission) []string {
	t.Helper()
	out, err := b.sh(s.Shell()).Output()
	if err != nil {
		t.Fatalf("sh refuses\n%s%v", s.Shell(), err)
	}
	stdin := []byte(s.Script)
	if s.File != "" {
		if stdin, err = os.ReadFile(s.File); err != nil {
			t.Fatal(err)
		}
	}
	words := s.Argv[1:]
	if want := strings.Join(words, "\x00") + "\x00" + string(stdin); string(out) != want {
		t.Fatalf("ssh gets from\n%s%q\nwant %q", s.Shell(), out, want)
	}
	return words
}

// run gives a command to the login shell there.
func (b *bench) run(t *testing.T, command, stdin string) {
	t.Helper()
	cmd := b.sh(command)
	if stdin != "" {
		f, err := os.Open(stdin)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the login shell refuses %s: %v: %s", command, err, out)
	}
}

// saw returns what workers were given since it was called last.
func (b *bench) saw(t *testing.T) (list [][]string) {
	t.Helper()
	files, _ := filepath.Glob(b.dir + "/saw/*")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, nuls(text))
		os.Remove(f)
	}
	return list
}

func nuls(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") }

// decode makes a plan as it comes from another process.
func decode(t *testing.T, kind string, whose plan.Whose, worker plan.Worker, names []plan.Names, spec map[string]any) *plan.Plan {
	t.Helper()
	p := &plan.Plan{}
	b, err := json.Marshal(map[string]any{"launcher": "l", "kind": kind, "whose": whose, "worker": worker, "names": names, "spec": spec})
	if err == nil {
		err = json.Unmarshal(b, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clean is text as it can be in a config: UTF-8, of words without NUL.
func clean(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "") }

// FuzzSSHLines: whatever is in a launcher, sh takes the line apart as it was
// meant, and the workers there are given what they would be without any shell;
// or there is an error.
func FuzzSSHLines(f *testing.F) {
	f.Add("ssh://me@host:22", "ssh://gate", "/w", "5m", "dask worker", uint8(1), uint8(0))
	f.Add("ssh://[::1]", "ssh://a@[fe80::1]:7", "/w o/$HOME", "finish", "Rscript -e 'x(\"y\")'", uint8(3), uint8(7))
	f.Add("ssh://h", "", "/it's", "a;b", "a\\ & b", uint8(2), uint8(2))
	f.Add("ssh://h", "", "/~/*{a,b}`id`", "=x", "x", uint8(2), uint8(0))
	f.Add("ssh://h", "", "/", "x", "a\\ &  ", uint8(1), uint8(2))
	b := newBench(f)
	f.Fuzz(func(t *testing.T, host, jump, dir, option, foreign string, n, flags uint8) {
		login := remote.Login{Muster: b.muster, Timeout: time.Duration(flags) * time.Second}
		var err error
		if login.Target, err = mssh.ParseTarget(host); err != nil {
			return
		}
		if gate, err := mssh.ParseTarget(jump); err == nil {
			login.Jump = []mssh.Target{gate}
		}
		dir, option, foreign = clean(dir), clean(option), clean(foreign)
		n = n%4 + 1
		spec := map[string]any{"hosts": []remote.Login{login, login}, "per_host": n, "tunnel": flags&1 != 0}
		whose, commands := plan.Own, slices.Repeat([]string{foreign}, 2*int(n))
		if flags&2 != 0 && strings.TrimSpace(foreign) != "" {
			whose = plan.Foreign
			spec["commands"], spec["bare"] = commands, flags&4 != 0
		}
		p := decode(t, "ssh", whose, plan.Worker{Slots: int(n), Dir: dir, Options: plan.WorkerOptions{AutoExit: option}},
			slices.Repeat([]plan.Names{{JoinFile: b.dir + "/JOIN_FILE", Port: "5555"}}, 2), spec)
		list, err := p.Submissions()
		if err != nil {
			if whose == plan.Foreign || !strings.ContainsAny(dir+option, "'\\!\n\r\"$`") && len(dir+option) < 3000 {
				t.Fatalf("%q, %q: %v", dir, option, err)
			}
			return
		}
		workers := 0
		for _, s := range list {
			words := b.paste(t, s)
			workers += s.Workers
			last := words[len(words)-1]
			switch {
			case whose == plan.Foreign && !strings.Contains(last, strings.TrimRight(foreign, " \t\n")):
				t.Fatalf("%q is not in %q", foreign, words)
			case whose != plan.Foreign && s.File == "":
				b.run(t, last, "")
			}
		}
		if workers != 2*int(n) {
			t.Fatalf("%d workers, want two times %d", workers, n)
		}
		if whose == plan.Foreign {
			return
		}
		want := []string{"worker", "--join-file", ".JOIN_FILE", "--slots", fmt.Sprint(n)}
		if dir != "" {
			want = append(want, "--cd", dir)
		}
		if option != "" {
			want = append(want, "--autoexit", option)
		}
		got := b.saw(t)
		for _, argv := range got {
			if !slices.Equal(argv, want) {
				t.Fatalf("a worker was given %q, want %q", argv, want)
			}
		}
		if len(got) != workers {
			t.Fatalf("%d workers were started, want %d", len(got), workers)
		}
	})
}

// FuzzViaLines: what submits behind SSH is given the words and the script that it
// would be given here.
func FuzzViaLines(f *testing.F) {
	f.Add("ssh://me@host:22", "--clusters=x", "/w", "EOF\nEOF_1", "module load x")
	f.Add("ssh://h", "it's $HOME `id`", "/w o", "x\n", "")
	b := newBench(f)
	f.Fuzz(func(t *testing.T, host, word, dir, foreign, setup string) {
		target, err := mssh.ParseTarget(host)
		if err != nil {
			return
		}
		word, dir, foreign = clean(word), clean(dir), clean(foreign)
		p := decode(t, "cluster", plan.Foreign, plan.Worker{}, []plan.Names{{Launch: "l-x", JoinFile: "/join", Muster: "/m"}}, map[string]any{"scheduler": "slurm",
			"jobs":    []hpc.Job{{Name: "j", Workdir: dir, Setup: []string{clean(setup)}, Output: "/o", Body: foreign}},
			"command": []string{"submit", word}, "login": remote.Login{Target: target}})
		list, err := p.Submissions()
		if err != nil {
			return
		}
		s := list[0]
		words := b.paste(t, s)
		cmd := b.sh(words[len(words)-1])
		cmd.Stdin = strings.NewReader(s.Script)
		out, err := cmd.Output()
		if want := word + "\x00--parsable\x00" + s.Script; err != nil || string(out) != want {
			t.Fatalf("%v: it was given %q, want %q", err, out, want)
		}
	})
}
