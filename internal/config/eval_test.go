package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
	"muster/internal/plan"
	"muster/rng"
)

func TestValues(t *testing.T) {
	f := parse(t, `
launcher "cluster" "a" {
  scheduler = "slurm"
  command   = "sbatch --clusters=x"
  array     = 5
  walltime  = "1-12:00:00"
  cpus      = 4
  memory    = "1.5GiB"
  account   = env("MY_ACCOUNT")
  name      = "sim-${worker.index}"
  setup     = ["a", trimspace(" b "), 7]
  options   = <<-EOT
    #SBATCH -C $${HOME}
  EOT
  worker_command = jsonencode({ c = worker.argv })
  via       = launcher.ssh.b
}
launcher "ssh" "b" {
  remotes = concat(["ssh://h"], ["ssh://${env("MY_H")}"])
}
profile "p" {
  url      = local_url({ port = 5555 })
  launcher = [launcher.cluster.a, "local"]
  workers  = 0
  worker {
    slots   = "2"
    cleanup = false
  }
}
profile "q" {
  url      = "tcp://h:1"
  reattach = "0s"
  seed     = -5
}`)
	e := f.Evaluate(config.Options{Getenv: getenv})
	a := f.Launchers[0]
	want := plan.ClusterSettings{Scheduler: "slurm", Command: "sbatch --clusters=x", Array: "5", Walltime: 36 * time.Hour, CPUs: 4, Memory: 3 << 29,
		Account: "from MY_ACCOUNT", Setup: []string{"a", "b", "7"}, Options: "#SBATCH -C ${HOME}\n", Poll: 10 * time.Second, Join: "file",
		Via: config.Reference{Launcher: f.Launchers[1]}}
	var got plan.ClusterSettings
	if err := e.Launcher(a, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	want.Name, want.WorkerCommand = "sim-$SLURM_ARRAY_TASK_ID", `{"c":["muster","worker"]}`
	w := config.Worker{Command: "muster worker", Argv: []string{"muster", "worker"}, URL: "tls+tcp://h:1", Index: "$SLURM_ARRAY_TASK_ID"}
	if err := e.LauncherFor(a, w, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	var ssh plan.SSHSettings
	if err := e.Launcher(f.Launchers[1], &ssh); err != nil || !slices.Equal(ssh.Remotes, []string{"ssh://h", "ssh://from MY_H"}) || ssh.Timeout != 0 || ssh.Client != "native" {
		t.Errorf("%+v, %v", ssh, err)
	}
	for _, l := range []*config.Launcher{f.Launchers[1], f.Profiles[0].Launchers[1]} {
		if err := e.Launcher(l, &got); err == nil {
			t.Errorf("the settings of launcher %s are those of a cluster", l.Full())
		}
	}
	wantP := plan.ProfileSettings{Launcher: config.References{Launchers: f.Profiles[0].Launchers}, URL: config.URLs{"tls+tcp://127.0.0.1:5555"}, Workers: config.Count{Given: true},
		Reattach: 10 * time.Minute, Worker: plan.WorkerSettings{Slots: 2}}
	var p plan.ProfileSettings
	if err := e.Profile(f.Profiles[0], &p); err != nil || !reflect.DeepEqual(p, wantP) {
		t.Errorf("%+v, %v\nwant %+v", p, err, wantP)
	}
	wantP = plan.ProfileSettings{URL: config.URLs{"tcp://h:1"}, Seed: rng.Seeded(-5), Worker: plan.WorkerSettings{Cleanup: true}}
	if err := e.Profile(f.Profiles[1], &p); err != nil || !reflect.DeepEqual(p, wantP) {
		t.Errorf("%+v, %v\nwant %+v", p, err, wantP)
	}
}

func TestMentions(t *testing.T) {
	f := parse(t, `launcher "cluster" "a" {
  name    = "x"
  queue   = worker.url
  account = worker["join_file"]
  setup   = [for w in worker.argv : "${w} ${worker.index}"]
  output  = jsonencode(worker)
}`)
	l := f.Launchers[0]
	for _, c := range []struct {
		setting string
		names   []string
		want    bool
	}{
		{"name", nil, false}, {"shell", nil, false}, {"queue", nil, true}, {"queue", []string{"url"}, true}, {"queue", []string{"index", "argv"}, false},
		{"account", []string{"join_file"}, true}, {"setup", []string{"argv"}, true}, {"setup", []string{"index"}, true}, {"setup", []string{"url"}, false}, {"output", []string{"url"}, true},
	} {
		if got := l.Mentions(c.setting, c.names...); got != c.want {
			t.Errorf("%s mentions %v: %v", c.setting, c.names, got)
		}
	}
}

// TestMistakesOfValues are found when a launcher is evaluated, at the expression.
func TestMistakesOfValues(t *testing.T) {
	for src, wants := range map[string][]string{
		`account = env("NOT_SET")`:               {"muster.hcl:2:11: env(): the environment variable NOT_SET is not set"},
		`options_file = "nowhere"`:               {"muster.hcl:2:16: options_file: open nowhere: no such file"},
		`account = file("nowhere")`:              {"muster.hcl:2:11: file(): open nowhere: no such file"},
		`account = file(".")`:                    {"muster.hcl:2:11: file(): . is a folder, and no file"},
		`account = exec(["false"])`:              {"muster.hcl:2:11: exec(): false: exit status 1"},
		`account = exec([])`:                     {"exec(): it needs a program"},
		`account = exec(["a", null])`:            {"exec(): a word is null"},
		`account = exec("true")`:                 {"muster.hcl:2:17: Invalid function argument"},
		`walltime = env("MY_X")`:                 {"muster.hcl:2:12: walltime: its value, which is not shown, is not a duration"},
		`cpus = env("MY_X")`:                     {"muster.hcl:2:8: cpus: its value, which is not shown, is not a whole number"},
		`join = env("MY_X")`:                     {"join: its value, which is not shown, is none of file, script"},
		`join = lower("X")`:                      {`muster.hcl:2:8: join is "x", and can be file, script`},
		"name = upper(5)\n  cpus = lower(\"A\")": {"muster.hcl:3:10: cpus: \"a\" is no count"},
	} {
		f := parse(t, "launcher \"cluster\" \"a\" {\n"+src+"\n}")
		var s plan.ClusterSettings
		err := f.Evaluate(config.Options{Getenv: getenv}).Launcher(f.Launchers[0], &s)
		for _, want := range wants {
			if err == nil || strings.Count(err.Error(), want) != 1 {
				t.Errorf("%s\nno %q in\n%v", src, want, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "from MY_X") {
			t.Errorf("what is secret is told: %v", err)
		}
	}
}

// counting is a config whose exec() counts how often it runs.
func counting(t *testing.T, body string) (*config.File, func() int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "code"), []byte("#!/bin/sh\necho ran >>runs\necho code-$(wc -l <runs)\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse(filepath.Join(dir, "muster.hcl"), []byte(body), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	return f, func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return strings.Count(string(b), "ran")
	}
}

// TestOnce: a code that is good for one time is asked for one time, and for each
// worker if the expression speaks of it.
func TestOnce(t *testing.T) {
	f, runs := counting(t, `launcher "cluster" "a" {
  account = exec(["./code"])
  name    = "${exec(["./code"])}-${worker.index}"
}
profile "p" {
  launcher   = launcher.cluster.a
  everywhere = [exec(["./code"])]
}`)
	e := f.Evaluate(config.Options{Getenv: getenv})
	var s plan.ClusterSettings
	for range 3 {
		if err := e.Launcher(f.Launchers[0], &s); err != nil || s.Account != "code-1" || s.Name != "" || runs() != 1 {
			t.Fatalf("%+v, %v after %d runs", s, err, runs())
		}
	}
	for _, index := range []string{"7", "8", "7", "8"} {
		if err := e.LauncherFor(f.Launchers[0], config.Worker{Index: index}, &s); err != nil || s.Account != "code-1" {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if s.Name != "code-2-8" || runs() != 2 {
		t.Errorf("%q after %d runs", s.Name, runs())
	}
	var p plan.ProfileSettings
	for range 2 {
		if err := e.Profile(f.Profiles[0], &p); err != nil || p.Everywhere[0] != "code-3" {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if _, err := e.Show(f.Launchers[0]); err != nil || runs() != 3 {
		t.Errorf("%v after %d runs", err, runs())
	}
	// The next evaluation begins anew.
	if err := f.Evaluate(config.Options{Getenv: getenv}).Launcher(f.Launchers[0], &s); err != nil || s.Account != "code-4" {
		t.Errorf("%+v, %v", s, err)
	}
	// What a caller does to a list is their own affair.
	p.Everywhere[0] = "x"
	if err := e.Profile(f.Profiles[0], &p); err != nil || p.Everywhere[0] != "code-3" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestOnceForAllWorkers: what a program prints may be good for one use; called twice
// in one expression, it runs twice.
func TestOnceForAllWorkers(t *testing.T) {
	f, runs := counting(t, `launcher "cluster" "a" {
  name = "${exec(["./code"])}-${exec(["./code"])}-${exec(["./code", worker.index])}"
}`)
	e := f.Evaluate(config.Options{Getenv: getenv})
	var s plan.ClusterSettings
	for _, c := range []struct {
		index, name string
		runs        int
	}{{"7", "code-1-code-2-code-3", 3}, {"8", "code-1-code-2-code-4", 4}, {"7", "code-1-code-2-code-3", 4}} {
		if err := e.LauncherFor(f.Launchers[0], config.Worker{Index: c.index}, &s); err != nil || s.Name != c.name || runs() != c.runs {
			t.Errorf("%s: %q after %d runs, %v", c.index, s.Name, runs(), err)
		}
	}
}

// TestOptionsFileIsReadOnce and byte for byte.
func TestOptionsFileIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "o")
	os.WriteFile(name, []byte("${HOME} e\u0301\xff\n"), 0o600)
	f, err := config.Parse(filepath.Join(dir, "muster.hcl"), []byte("launcher \"cluster\" \"a\" {\n options_file = \"o\"\n}"), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	e := f.Evaluate(config.Options{})
	for range 2 {
		var s plan.ClusterSettings
		if err := e.Launcher(f.Launchers[0], &s); err != nil || s.OptionsFile != (config.TextFile{Path: "o", Text: "${HOME} e\u0301\xff\n"}) {
			t.Errorf("%+v, %v", s.OptionsFile, err)
		}
		os.Remove(name)
	}
}

// TestNoProgramRuns: with the policies that run none, and what they give instead.
func TestNoProgramRuns(t *testing.T) {
	f, runs := counting(t, `launcher "cluster" "a" {
  scheduler = exec(["./code"])
  account   = upper("x${exec(["./code", exec(["other"])])}")
  cpus      = exec(["./code"])
  gpus      = exec(["./code"]) == "2" ? 1 : 2
  walltime  = exec(["./code"])
  queue     = "plain"
  setup     = ["a", exec(["./code"]), env("MY_E")]
}
profile "p" {
  url = [exec(["./code"])]
}`)
	l := f.Launchers[0]
	var s plan.ClusterSettings
	e := f.Evaluate(config.Options{Getenv: getenv, Exec: config.Leave})
	if err := e.Launcher(l, &s); err != nil || !reflect.DeepEqual(s, plan.ClusterSettings{Queue: "plain", Poll: 10 * time.Second, Join: "file"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if program, ok := e.Unknown(&l.Block, "cpus"); !ok || program != "./code" {
		t.Errorf("cpus depends on %q, %v", program, ok)
	}
	if _, ok := e.Unknown(&l.Block, "queue"); ok {
		t.Error("queue depends on a program")
	}
	if bad := s.Check(l); len(bad) > 0 {
		t.Errorf("what is not known is wrong: %v", bad)
	}
	e = f.Evaluate(config.Options{Getenv: getenv, Exec: config.Placeholder, Redact: true})
	const stand = "[output of ./code]"
	want := plan.ClusterSettings{Scheduler: stand, Queue: "plain", Account: stand, Setup: []string{"a", stand, config.Redacted}, Poll: 10 * time.Second, Join: "file"}
	want.Account = "[output of other]" // the program's own words are not known
	if err := e.Launcher(l, &s); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, %v\nwant %+v", s, err, want)
	}
	shown, err := e.Show(l)
	wantShown := []config.Shown{{"scheduler", stand}, {"walltime", stand}, {"cpus", stand}, {"gpus", stand}, {"queue", "plain"}, {"account", "[output of other]"}, {"setup", []string{"a", stand, config.Redacted}}}
	slices.SortFunc(shown, func(a, b config.Shown) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(wantShown, func(a, b config.Shown) int { return strings.Compare(a.Name, b.Name) })
	if err != nil || !reflect.DeepEqual(shown, wantShown) {
		t.Errorf("%v, %v\nwant %v", shown, err, wantShown)
	}
	if shown, err := e.ShowProfile(f.Profiles[0]); err != nil || !reflect.DeepEqual(shown, []config.Shown{{"url", []string{stand}}}) {
		t.Errorf("%v, %v", shown, err)
	}
	if runs() != 0 {
		t.Errorf("%d programs ran", runs())
	}
}

// TestSecretsAreRedacted: what comes from outside, and what is made of it, and
// nothing else.
func TestSecretsAreRedacted(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "key"), []byte("from MY_file"), 0o600)
	f, err := config.Parse(filepath.Join(dir, "muster.hcl"), []byte(`
launcher "cluster" "a" {
  scheduler = "slurm"
  walltime  = trimspace(env("MY_TIME"))
  account   = env("MY_A")
  name      = "x-${upper(env("MY_B"))}"
  queue     = "plain"
  setup     = ["export K=${exec(["echo", "from MY_exec"])}", "plain"]
  options   = file("key")
  output    = "${worker.index}.out"
}`), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) (string, bool) {
		if name == "MY_TIME" {
			return "4h", true
		}
		return getenv(name)
	}
	l := f.Launchers[0]
	var s plan.ClusterSettings
	if err := f.Evaluate(config.Options{Getenv: getenv}).Launcher(l, &s); err != nil || s.Account != "from MY_A" || s.Name != "x-FROM MY_B" || s.Setup[0] != "export K=from MY_exec" || s.Options != "from MY_file" {
		t.Errorf("%+v, %v", s, err)
	}
	e := f.Evaluate(config.Options{Getenv: getenv, Redact: true})
	if err := e.Launcher(l, &s); err != nil || s.Account != config.Redacted || s.Name != config.Redacted || !slices.Equal(s.Setup, []string{config.Redacted, "plain"}) || s.Options != config.Redacted || s.Queue != "plain" || s.Walltime != 4*time.Hour {
		t.Errorf("%+v, %v", s, err)
	}
	shown, err := e.Show(l)
	want := []config.Shown{{"scheduler", "slurm"}, {"walltime", config.Redacted}, {"queue", "plain"}, {"account", config.Redacted}, {"name", config.Redacted},
		{"output", `"${worker.index}.out"`}, {"setup", []string{config.Redacted, "plain"}}, {"options", config.Redacted}}
	if err != nil || !reflect.DeepEqual(shown, want) {
		t.Errorf("%v, %v\nwant %v", shown, err, want)
	}
}

// TestTextKnowsItsFile: a text that is all of a file says of which, and one that was made
// of it does not, since nobody could make it again.
func TestTextKnowsItsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pem")
	if err := os.WriteFile(path, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]config.Text{
		`file("a.pem")`:               {Text: "text\n", Path: path},
		`"${file("a.pem")}"`:          {Text: "text\n", Path: path},
		`trimspace(file("a.pem"))`:    {Text: "text"},
		`"x${file("a.pem")}"`:         {Text: "xtext\n"},
		`"text\n"`:                    {Text: "text\n"},
		`true ? file("a.pem") : "x"`:  {Text: "text\n", Path: path},
		`exec(["printf", "text\\n"])`: {Text: "text"},
	} {
		name := filepath.Join(dir, "muster.hcl")
		if err := os.WriteFile(name, []byte("profile \"p\" {\n tls {\n cert = "+expr+"\n }\n}"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := config.Load(name, plan.Schema())
		if err != nil {
			t.Fatal(err)
		}
		var s plan.ProfileSettings
		if err := f.Evaluate(config.Options{}).Profile(f.Profiles[0], &s); err != nil || s.TLS.Cert != want {
			t.Errorf("%s is %q, %v; want %q", expr, s.TLS.Cert, err, want)
		}
		shown, err := f.Evaluate(config.Options{Redact: true}).ShowProfile(f.Profiles[0])
		if err != nil || len(shown) != 1 || (shown[0].Value == config.Redacted) != (expr != `"text\n"`) {
			t.Errorf("%s is shown as %v, %v", expr, shown, err)
		}
	}
}
