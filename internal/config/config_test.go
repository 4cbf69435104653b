package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
)

func parse(t *testing.T, src string) *config.File {
	t.Helper()
	f, err := config.Parse("muster.hcl", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var scope = config.Scope{Command: "muster worker", Argv: []string{"muster", "worker"}, URL: "tls+tcp://h:1",
	Getenv: func(name string) (string, bool) { return "from " + name, strings.HasPrefix(name, "MY_") }, Exec: true}

// TestMistakesOfNames are found when the file is read, all of them, each at
// its place.
func TestMistakesOfNames(t *testing.T) {
	for src, wants := range map[string][]string{
		"launcher \"cluster\" \"a\" {\n  schedular = \"slurm\"\n}":                            {"muster.hcl:2:3: there is no setting \"schedular\" here", "   2 |   schedular = \"slurm\"\n       |   ^^^^^^^^^", `hint: did you mean "scheduler"?`},
		"launcher \"clutser\" \"a\" {}":                                                       {"muster.hcl:1:10: there is no launcher of kind \"clutser\"", `did you mean "cluster"?`},
		"launcher \"cluster\" {}":                                                             {"a launcher has a kind and a name"},
		"launcher \"cluster\" \"a b\" {}":                                                     {`"a b" is no name`},
		"launcher \"ssh\" \"a\" {}\nlauncher \"ssh\" \"a\" {}":                                {"muster.hcl:2:16: there is another launcher \"a\" of kind ssh above"},
		"profile \"p\" {\n  launcher = launcher.cluster.b\n}\nlauncher \"cluster\" \"bb\" {}": {"muster.hcl:2:14: there is no launcher.cluster.b", `did you mean "launcher.cluster.bb"?`},
		"profile \"p\" {\n  launcher = 5\n}":                                                  {"this names no launcher"},
		"profile \"p\" {\n  wroker {\n  }\n}":                                                 {"muster.hcl:2:3: there is no block \"wroker\" here"},
		"profile \"p\" {}\nprofile \"p\" {}":                                                  {"another profile \"p\" above"},
		"porfile \"p\" {}":                                                                    {`there is no block "porfile"`, `did you mean "profile"?`},
		"walltime = 5":                                                                        {`"walltime" cannot stand here`},
		"launcher \"cluster\" \"a\" {\n  cpus = \"many\"\n  walltime = \"4 hours\"\n  memory = \"16\"\n}": {"2:10: cpus: this must be number", "3:14: walltime: \"4 hours\" is no duration", "4:12: memory: \"16\" has no unit"},
		"launcher \"cluster\" \"a\" {\n  cpus = -1\n}":                                                    {"whole number from 0"},
		"launcher \"cluster\" \"a\" {\n  setup = [1, null]\n}":                                            {"an element is null"},
		"launcher \"cluster\" \"a\" {\n  walltime = \"10:30\"\n}":                                         {"can be read in two ways"},
		"launcher \"cluster\" \"a\" {\n  name = \"x\n}":                                                   {"muster.hcl:2:"},
		"launcher \"cluster\" \"a\" {":                                                                    {"muster.hcl:1:"},
	} {
		_, err := config.Parse("muster.hcl", []byte(src))
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s\nwas taken: %v", src, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nno %q in\n%s", src, want, err)
			}
		}
	}
}

// TestMistakesOfValues are found when a launcher is planned.
func TestMistakesOfValues(t *testing.T) {
	for src, want := range map[string]string{
		"account = env(\"NOT_SET\")":                         "muster.hcl:2:11: Error in function call: Call to function \"env\" failed: the environment variable NOT_SET is not set",
		"options = <<-EOT\n  echo ${HOME}\nEOT":              "in shell text write $${NAME}",
		"account = worker.nothing":                           "nothing",
		"options_file = \"nowhere\"":                         "no such file",
		"join = \"carrier pigeon\"":                          `join is "carrier pigeon"`,
		"account = file(\"nowhere\")":                        "no such file",
		"account = exec([\"false\"])":                        "exit status 1",
		"options = \"a\"\noptions_file = \"config_test.go\"": "there are options and options_file",
	} {
		f := parse(t, "launcher \"cluster\" \"a\" {\n"+src+"\nscheduler = \"slurm\"\n}\nlauncher \"ssh\" \"x\" {}\n")
		if _, err := f.Cluster(f.Launchers[0], scope); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nwas answered with %v\nwant %q", src, err, want)
		}
	}
	f := parse(t, "launcher \"cluster\" \"a\" {}")
	if _, err := f.Cluster(f.Launchers[0], scope); err == nil || !strings.Contains(err.Error(), "which scheduler") {
		t.Errorf("without a scheduler: %v", err)
	}
	f = parse(t, "profile \"p\" {\n  seed = 1\n  worker {\n    autoexit = \"later\"\n  }\n}")
	if _, err := f.Settings(f.Profiles[0], scope); err == nil || !strings.Contains(err.Error(), "2:3: seed is not implemented yet") || !strings.Contains(err.Error(), "4:16: autoexit is \"later\"") {
		t.Errorf("settings of later versions: %v", err)
	}
}

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
  setup     = ["a", trimspace(" b ")]
  options   = <<-EOT
    #SBATCH -C $${HOME}
  EOT
  worker_command = jsonencode({ c = worker.argv })
}
profile "p" {
  url      = local_url({ port = 5555 })
  launcher = [launcher.cluster.a, "local"]
  workers  = 3
  worker {
    slots = 2
  }
}`)
	s := scope
	s.Index = 7
	c, err := f.Cluster(f.Launchers[0], s)
	if err != nil {
		t.Fatal(err)
	}
	if c.Walltime != 36*time.Hour || c.Memory != 3<<29 || c.Array != "5" || c.Account != "from MY_ACCOUNT" || c.Name != "sim-7" ||
		!slices.Equal(c.Setup, []string{"a", "b"}) || c.Options != "#SBATCH -C ${HOME}\n" || c.WorkerCommand != `{"c":["muster","worker"]}` ||
		!slices.Equal(c.Command, []string{"sbatch", "--clusters=x"}) {
		t.Errorf("%+v", c)
	}
	set, err := f.Settings(f.Profiles[0], s)
	if err != nil || set.Workers != 3 || set.Slots != 2 || !slices.Equal(set.URLs, []string{"tls+tcp://127.0.0.1:5555"}) {
		t.Errorf("%+v, %v", set, err)
	}
	if l := f.Profiles[0].Launchers; len(l) != 2 || l[0] != f.Launchers[0] || l[1] != nil {
		t.Errorf("launchers %v", l)
	}
}

// TestSecretsAreRedacted: what comes from outside, and what is made of it.
func TestSecretsAreRedacted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("from MY_file"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse(filepath.Join(dir, "muster.hcl"), []byte(`
launcher "cluster" "a" {
  scheduler = "slurm"
  account   = env("MY_A")
  name      = "x-${upper(env("MY_B"))}"
  queue     = "plain"
  setup     = ["export K=${exec(["echo", "from MY_exec"])}"]
  options   = file("key")
}`))
	if err != nil {
		t.Fatal(err)
	}
	s := scope
	open, err := f.Cluster(f.Launchers[0], s)
	if err != nil || open.Account != "from MY_A" || open.Name != "x-FROM MY_B" || open.Setup[0] != "export K=from MY_exec" || open.Options != "from MY_file" {
		t.Errorf("%+v, %v", open, err)
	}
	s.Redact = true
	c, err := f.Cluster(f.Launchers[0], s)
	if err != nil || c.Account != "[redacted]" || c.Name != "[redacted]" || c.Setup[0] != "[redacted]" || c.Options != "[redacted]" || c.Queue != "plain" {
		t.Errorf("%+v, %v", c, err)
	}
	s.Exec = false
	if c, err = f.Cluster(f.Launchers[0], config.Scope{Getenv: s.Getenv}); err != nil || strings.Contains(c.Setup[0], "from MY_exec") {
		t.Errorf("a check runs programs: %+v, %v", c, err)
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "3h50m": 230 * time.Minute, "04:00:00": 4 * time.Hour,
		"2-12": 60 * time.Hour, "1-00:30": 24*time.Hour + 30*time.Minute, "1-02:03:04": 26*time.Hour + 3*time.Minute + 4*time.Second} {
		if d, err := config.ParseDuration(text); err != nil || d != want {
			t.Errorf("%q is %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "5", "10:30", "-5s", "1h 2m", "x", "999999999-00:00:00"} {
		if d, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q is taken as %s", text, d)
		}
	}
	for text, want := range map[string]int64{"16GB": 16e9, "16GiB": 16 << 30, "512 mb": 512e6, "1.5KiB": 1536, "0B": 0} {
		if n, err := config.ParseSize(text); err != nil || n != want {
			t.Errorf("%q is %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "16", "16G", "-1GB", "GB", "99999999999TB"} {
		if n, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	env := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "xdg")}[name] }
	find := func(named, want string) {
		t.Helper()
		if got, err := config.Find(named, env); err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	find("", "")
	xdg := filepath.Join(dir, "xdg", "muster", "muster.hcl")
	os.MkdirAll(filepath.Dir(xdg), 0o700)
	os.WriteFile(xdg, nil, 0o600)
	find("", xdg)
	os.WriteFile("muster.hcl", nil, 0o600)
	find("", "muster.hcl")
	find("other.hcl", "other.hcl")
}

func TestLauncherByName(t *testing.T) {
	f := parse(t, "launcher \"cluster\" \"a\" {}\nlauncher \"ssh\" \"a\" {}\nlauncher \"cluster\" \"big\" {}")
	for name, want := range map[string]string{"big": "big", "cluster.a": "a", "launcher.ssh.a": "a"} {
		if l, err := f.Launcher(name); err != nil || l.Name != want {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	for name, want := range map[string]string{"a": "more than one", "bigg": `did you mean "big"?`} {
		if _, err := f.Launcher(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: no text makes it panic, and what is taken can be evaluated
// without running anything.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("../../examples/full.hcl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("launcher \"cluster\" \"a\" {\n scheduler = \"slurm\"\n options = <<-EOT\n  ${worker.url}\n EOT\n}"))
	f.Add([]byte("launcher \"ssh\" \"a\" {\n remotes = [\"ssh://h\"]\n state = \"$S/m\"\n via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {\n via = launcher.ssh.a\n}"))
	f.Add([]byte("profile \"p\" {\n launcher = [\"local\"]\n url = host_url({port=1})\n worker {\n slots = 1\n }\n}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 20_000 {
			return
		}
		c, err := config.Parse("f.hcl", src)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error says nothing")
			}
			return
		}
		for _, l := range c.Launchers {
			if _, err := c.Cluster(l, config.Scope{Getenv: scope.Getenv}); err != nil {
				_ = err.Error()
			}
			if _, err := c.SSH(l, config.Scope{Getenv: scope.Getenv, Redact: true}); err != nil {
				_ = err.Error()
			}
			c.Shown(l, config.Scope{Getenv: scope.Getenv, Redact: true})
		}
		for _, p := range c.Profiles {
			c.Settings(p, config.Scope{Getenv: scope.Getenv})
			c.ShownProfile(p, config.Scope{Getenv: scope.Getenv})
		}
	})
}
