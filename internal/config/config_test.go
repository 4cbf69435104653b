package config_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"muster/internal/config"
	"muster/internal/plan"
)

func parse(t *testing.T, src string) *config.File {
	t.Helper()
	f, err := config.Parse("muster.hcl", []byte(src), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// getenv knows variables that begin with MY_.
func getenv(name string) (string, bool) { return "from " + name, strings.HasPrefix(name, "MY_") }

// TestMistakesAtTheirPlace: all of them are found when the file is read, each once.
func TestMistakesAtTheirPlace(t *testing.T) {
	const gate = "launcher \"ssh\" \"gate\" {}\n"
	for src, wants := range map[string][]string{
		"launcher \"cluster\" \"a\" {\n  schedular = \"slurm\"\n}":                                        {"muster.hcl:2:3: there is no setting \"schedular\" here", "   2 |   schedular = \"slurm\"\n       |   ^^^^^^^^^", `hint: did you mean "scheduler"?`},
		"launcher \"clutser\" \"a\" {}":                                                                   {"muster.hcl:1:10: there is no launcher of kind \"clutser\"", `did you mean "cluster"?`},
		"launcher \"http\" \"a\" {\n  url = 1\n}":                                                         {"muster.hcl:2:9: url: this must be a string, and is a number"},
		"launcher \"command\" \"a\" {\n  args = [\"a\", [\"b\"]]\n}":                                      {"muster.hcl:2:10: args:"},
		"launcher \"command\" \"a\" {\n  id = outptu\n}":                                                  {"muster.hcl:2:8: there is no outptu", "hint: this one speaks of output and worker"},
		"launcher \"http\" \"a\" {\n  headers = [\"a: b\"]\n}":                                            {"muster.hcl:2:13: headers:"},
		"launcher \"http\" \"a\" {\n  status {\n    uri = \"x\"\n  }\n}":                                  {"muster.hcl:3:5: there is no setting \"uri\" here", "did you mean \"url\""},
		"launcher \"cluster\" {}":                                                                         {"a launcher has a kind and a name"},
		"launcher \"cluster\" \"a b\" {}":                                                                 {`"a b" is no name`},
		"launcher \"ssh\" \"a\" {}\nlauncher \"ssh\" \"a\" {}":                                            {"muster.hcl:2:16: there is another launcher \"a\" of kind ssh above"},
		"profile \"p\" {\n  launcher = launcher.cluster.b\n}\nlauncher \"cluster\" \"bb\" {}":             {"muster.hcl:2:14: there is no launcher.cluster.b", `did you mean "launcher.cluster.bb"?`},
		"profile \"p\" {\n  launcher = 5\n}":                                                              {"this names no launcher"},
		"profile \"p\" {\n  launcher = null\n}":                                                           {"this names no launcher"},
		"profile \"p\" {\n  launcher = launcher.cluster[\"b\"]\n}":                                        {"this names no launcher"},
		"profile \"p\" {\n  wroker {\n  }\n}":                                                             {"muster.hcl:2:3: there is no block \"wroker\" here", `did you mean "worker"?`},
		"profile \"p\" {\n  worker {}\n  worker {}\n}":                                                    {"muster.hcl:3:3: there is another block worker above"},
		"profile \"p\" {\n  worker \"x\" {}\n}":                                                           {"the block worker has no name"},
		"profile \"p\" {\n  worker = 1\n}":                                                                {"muster.hcl:2:3: worker is a block", "hint: worker { ... }"},
		"profile \"p\" {\n  memory {}\n}":                                                                 {"muster.hcl:2:3: memory is a setting, and no block", `hint: memory = "100MB"`},
		"profile \"p\" {\n  worker {\n    worker {}\n  }\n}":                                              {"muster.hcl:3:5: there is no block \"worker\" here"},
		"profile \"p\" {\n  xyz = 1\n}":                                                                   {"there is no setting \"xyz\" here", "hint: there are launcher, url, workers, memory, share_limit, spread, scheduling, reattach, everywhere, sync, seed, worker"},
		"profile \"p\" {\n  worker {\n  xyz = 1\n}\n}":                                                    {"there is no setting \"xyz\" here", "hint: there are slots, idletime, walltime, maxtasks, cleanup, autoexit, output, asyncdial"},
		"launcher \"pbspro\" \"a\" {\n}":                                                                  {"muster.hcl:1:10: there is no launcher of kind \"pbspro\"", "hint: launcher \"cluster\" \"NAME\" with scheduler = \"pbs\""},
		"launcher \"local\" \"a\" {\n}":                                                                   {"muster.hcl:1:10: there is no launcher of kind \"local\"", "hint: workers on this machine need no block: launcher = \"local\" in a profile"},
		"profile \"p\" {\n  launcher = launcher.cluster.xyz\n}":                                           {"there is no launcher.cluster.xyz", "hint: a launcher is a block of its own"},
		"profile \"p\" {\n  idletime = \"5m\"\n}":                                                         {"there is no setting \"idletime\" here", "hint: it stands in an inner block: worker { idletime = ... }"},
		"profile \"p\" {\n  worker {\n    reattach = \"5m\"\n  }\n}":                                      {"hint: reattach stands outside of the block worker"},
		"profile \"p\" {\n  gpus = 1\n}":                                                                  {"hint: it is a setting of launchers of kind cluster"},
		"launcher \"ssh\" \"a\" {\n  everywhere = []\n}":                                                  {"hint: it is a setting of profiles"},
		"profile \"p\" {\n  seed = 1.5\n}":                                                                {"muster.hcl:2:10: seed: \"1.5\" is no seed: a seed is a whole number from -2147483647 to 2147483647"},
		"profile \"p\" {\n  seed = 2147483648\n}":                                                         {"is no seed: a seed is a whole number from -2147483647"},
		"profile \"p\" {\n  seed = -2147483648\n}":                                                        {"is no seed: a seed is a whole number from -2147483647"},
		"profile \"p\" {\n  seed = \"\"\n}":                                                               {"2:10: seed: \"\" is no seed"},
		"profile \"p\" {\n  seed = null\n}":                                                               {"2:10: seed: it is null"},
		"profile \"p\" {\n  rng = 1\n}":                                                                   {"2:3: there is no setting \"rng\" here", `did you mean "seed"?`},
		"profile \"p\" {}\nprofile \"p\" {}":                                                              {"another profile \"p\" above"},
		"porfile \"p\" {}":                                                                                {`there is no block "porfile"`, `did you mean "profile"?`},
		"walltime = 5":                                                                                    {`"walltime" cannot stand here`},
		"launcher \"cluster\" \"a\" {\n  cpus = \"many\"\n  walltime = \"4 hours\"\n  memory = \"16\"\n}": {"2:10: cpus: \"many\" is no count", "3:14: walltime: \"4 hours\" is no duration", "4:12: memory: \"16\" has no unit"},
		"launcher \"cluster\" \"a\" {\n  cpus = -1\n}":                                                    {"2:10: cpus: \"-1\" is negative"},
		"launcher \"cluster\" \"a\" {\n  cpus = 1.5\n}":                                                   {"2:10: cpus: \"1.5\" is no count"},
		"launcher \"cluster\" \"a\" {\n  cpus = 8.0000000000000000000001\n  gpus = 1e30\n}":               {"2:10: cpus: \"8.0000000000000000000001\" is no count", "3:10: gpus: \"1e+30\" is too large"},
		"launcher \"cluster\" \"a\" {\n  walltime = 240\n  memory = 16\n  poll = -1\n}":                   {"2:14: walltime: \"240\" has no unit", "3:12: memory: \"16\" has no unit", "4:10: poll: \"-1\" is negative"},
		"launcher \"cluster\" \"a\" {\n  name = 5\n}":                                                     {"2:10: name: this must be a string, and is a number"},
		"launcher \"cluster\" \"a\" {\n  name = null\n}":                                                  {"2:10: name: it is null"},
		"launcher \"cluster\" \"a\" {\n  setup = [1, null]\n}":                                            {"an element is null"},
		"launcher \"cluster\" \"a\" {\n  setup = [[\"a\"]]\n}":                                            {"this must be a string, and is a tuple"},
		"launcher \"cluster\" \"a\" {\n  walltime = \"10:30\"\n}":                                         {"can be read in two ways"},
		"launcher \"cluster\" \"a\" {\n  join = \"carrier pigeon\"\n}":                                    {`2:10: join is "carrier pigeon", and can be file, script`},
		"launcher \"cluster\" \"a\" {\n  scheduler = \"OpenPBS\"\n}":                                      {`2:15: scheduler is "OpenPBS", and can be slurm, pbs, torque, sge, lsf`, `hint: scheduler = "pbs"`},
		"launcher \"cluster\" \"a\" {\n  scheduler = \"Slurm\"\n}":                                        {`hint: did you mean "slurm"?`},
		"launcher \"cluster\" \"a\" {\n  name = \"x\n}":                                                   {"muster.hcl:2:12: Invalid multi-line string"},
		"launcher \"cluster\" \"a\" {":                                                                    {"muster.hcl:1:24: Unclosed configuration block"},
		"launcher \"cluster\" \"a\" {\n  options = <<-EOT\n  echo ${HOME}\nEOT\n}":                        {"muster.hcl:3:10: there is no HOME in expressions", "in shell text write $${NAME}"},
		"launcher \"cluster\" \"a\" {\n  queue = main\n}":                                                 {"muster.hcl:2:11: there is no main in expressions", `hint: a string stands in quotes: "main"`},
		"launcher \"cluster\" \"a\" {\n  name = worker.indx\n}":                                           {"muster.hcl:2:10: there is no worker.indx", `did you mean "index"?`},
		"launcher \"cluster\" \"a\" {\n  name = launcher.ssh.b\n}":                                        {"a launcher cannot be named here"},
		"launcher \"cluster\" \"a\" {\n  name = evn(\"A\")\n}":                                            {"muster.hcl:2:10: there is no function evn", `did you mean "env"?`},
		"profile \"p\" {\n  everywhere = [worker.url]\n}":                                                 {"muster.hcl:2:17: a profile is for many workers"},
		gate + "launcher \"cluster\" \"c\" {\n  via = launcher.ssh.gat\n}":                                {"muster.hcl:3:9: there is no launcher.ssh.gat", `hint: did you mean "launcher.ssh.gate"?`},
		gate + "launcher \"cluster\" \"c\" {\n  via = \"gate\"\n}":                                        {"muster.hcl:3:9: this names no launcher"},
		gate + "launcher \"cluster\" \"c\" {\n  via = launcher.ssh.gate.x\n}":                             {"muster.hcl:3:9: this names no launcher"},
		"launcher \"cluster\" \"b\" {}\nlauncher \"ssh\" \"s\" {\n  via = launcher.cluster.b\n}":          {"muster.hcl:3:9: via leads through a launcher of kind ssh, and launcher cluster.b is of another kind", "hint: via = launcher.ssh.NAME"},
		"launcher \"ssh\" \"s\" {\n  via = launcher.ssh.s\n}":                                             {"muster.hcl:2:9: launcher ssh.s would be reached through itself"},
		"launcher \"ssh\" \"a\" {\n  via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {\n  via = launcher.ssh.c\n}\nlauncher \"ssh\" \"c\" {\n  via = launcher.ssh.a\n}": {"muster.hcl:8:9: launcher ssh.c would be reached through itself"},
		"launcher \"cluster\" \"c\" {\n  via = launcher.ssh.a\n}\nlauncher \"ssh\" \"a\" {\n  via = launcher.ssh.a\n}":                                                  {"muster.hcl:5:9: launcher ssh.a would be reached through itself"},
		"launcher \"ssh\" \"a\" {\n  remote = [\"ssh://h\"]\n}":                                                                                                         {`muster.hcl:2:3: there is no setting "remote" here`, `hint: did you mean "remotes"?`},
		"launcher \"ssh\" \"a\" {\n  remotes = \"ssh://h\"\n  tunnel = \"maybe\"\n  timeout = \"soon\"\n}":                                                              {"2:13: remotes: this must be a list of strings, and is a string", "3:12: tunnel: this must be true or false", "4:13: timeout: \"soon\" is no duration"},
	} {
		_, err := config.Parse("muster.hcl", []byte(src), plan.Schema())
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s\nwas taken: %v", src, err)
			continue
		}
		for _, want := range wants {
			if strings.Count(err.Error(), want) != 1 {
				t.Errorf("%s\nis not answered once with %q but\n%s", src, want, err)
			}
		}
	}
}

// TestMistakesInFileOrder: whatever finds them.
func TestMistakesInFileOrder(t *testing.T) {
	src := "profile \"p\" {\n  launcher = launcher.ssh.nobody\n  wokers = 1\n}\nlauncher \"cluster\" \"a\" {\n  via = launcher.ssh.none\n  cpus = \"x\"\n}\n"
	for range 20 {
		_, err := config.Parse("f", []byte(src), plan.Schema())
		var lines []string
		for line := range strings.Lines(err.Error()) {
			if strings.HasPrefix(line, "f:") {
				lines = append(lines, strings.SplitAfterN(line, ":", 3)[1])
			}
		}
		if want := []string{"2:", "3:", "6:", "7:"}; !slices.Equal(lines, want) {
			t.Fatalf("lines %v, want %v\n%s", lines, want, err)
		}
	}
}

// TestNearNames: what other tools call it leads to the name here.
func TestNearNames(t *testing.T) {
	for _, c := range []struct{ head, word, want string }{
		{`launcher "cluster" "a"`, "partition", "queue"}, {`launcher "cluster" "a"`, "time", "walltime"}, {`launcher "cluster" "a"`, "h_rt", "walltime"},
		{`launcher "cluster" "a"`, "mem", "memory"}, {`launcher "cluster" "a"`, "cpus_per_task", "cpus"}, {`launcher "cluster" "a"`, "cpus-per-task", "cpus"}, {`launcher "cluster" "a"`, "ppn", "cpus"},
		{`launcher "cluster" "a"`, "qos", "options"}, {`launcher "cluster" "a"`, "mail_user", "options"}, {`launcher "cluster" "a"`, "job_name", "name"}, {`launcher "cluster" "a"`, "stdout", "output"},
		{`launcher "cluster" "a"`, "chdir", "workdir"}, {`launcher "cluster" "a"`, "Partition", "queue"}, {`launcher "cluster" "a"`, "wlaltime", "walltime"},
		{`launcher "ssh" "a"`, "hosts", "remotes"}, {`launcher "ssh" "a"`, "user", "remotes"}, {`launcher "ssh" "a"`, "port", "remotes"}, {`launcher "ssh" "a"`, "proxy_jump", "via"},
		{`profile "p"`, "n", "workers"}, {`profile "p"`, "urls", "url"}, {`profile "p"`, "lease", "reattach"},
	} {
		_, err := config.Parse("f", []byte(c.head+" {\n"+c.word+" = 1\n}"), plan.Schema())
		if want := `did you mean "` + c.want + `"?`; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s in %s: no %s in\n%v", c.word, c.head, want, err)
		}
	}
}

// TestNearNamesElsewhere: a name that is known in another kind of block leads there.
func TestNearNamesElsewhere(t *testing.T) {
	for _, c := range []struct{ head, word, want string }{
		{`profile "p"`, "partition", `it is queue of launchers of kind cluster, such as queue = "main"`},
		{`profile "p"`, "account", "it is a setting of launchers of kind cluster"},
		{`profile "p"`, "H-vmem", "it is memory of launchers of kind cluster"},
		{`launcher "cluster" "a"`, "reattach", "it is a setting of profiles"},
		{`launcher "ssh" "a"`, "partition", "it is queue of launchers of kind cluster"},
	} {
		_, err := config.Parse("f", []byte(c.head+" {\n"+c.word+" = 1\n}"), plan.Schema())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in %s: no %s in\n%v", c.word, c.head, c.want, err)
		}
	}
}

// TestDeepExpressions cannot exhaust the parser's stack.
func TestDeepExpressions(t *testing.T) {
	for _, piece := range []string{"(", "[", "{a={", "!", "-", "1+", "true?", "[for a in ", "\"${", "upper(", "a {"} {
		for _, n := range []int{900, 1 << 16} {
			_, err := config.Parse("f", []byte("launcher \"cluster\" \"a\" {\n name = "+strings.Repeat(piece, n)), plan.Schema())
			if err == nil || n > 1000 && !strings.Contains(err.Error(), "f:2:") {
				t.Errorf("%d of %s: %v", n, piece, err)
			}
			if err != nil && len(err.Error()) > 40_000 {
				t.Errorf("%d of %s: an error of %d bytes", n, piece, len(err.Error()))
			}
		}
	}
}

// TestMistakesArePrintable: whatever stands in a config, or is cut out of its middle.
func TestMistakesArePrintable(t *testing.T) {
	for src, want := range map[string]string{
		"profile \"p\" {\n  everywhere = [\"größe\", nichts]\n}":                                                              "\n     2 |   everywhere = [\"größe\", nichts]\n       |                          ^^^^^^\n       hint: a string stands in quotes: \"nichts\"",
		"profile \"p\" {\n\teverywhere = [\"\x1b[2J\", x]\n}":                                                                 "\n     2 | \teverywhere = [\"?[2J\", x]\n       | \t                      ^\n",
		"profile \"p\" {\n everywhere = [\"" + strings.Repeat("y", 5000) + "\", x, \"" + strings.Repeat("z", 5000) + "\"]\n}": "yyyy\", x, \"zzzz",
		"profile \"p\" {\n memory = {\n a = 1\n }\n}":                                                                         "\n     2 |  memory = {\n       |           ^\n",
	} {
		_, err := config.Parse("f", []byte(src), plan.Schema())
		if err == nil || !strings.Contains(err.Error()+"\n", want) || len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "a%d = 1\n", i)
	}
	if _, err := config.Parse("f", []byte(many.String()), plan.Schema()); strings.Count(err.Error(), "cannot stand here") != 20 || !strings.HasSuffix(err.Error(), "\nand 980 more") {
		t.Errorf("%v", err)
	}
}

func TestReferences(t *testing.T) {
	f := parse(t, `
launcher "cluster" "a" { via = launcher.ssh.c }
launcher "ssh" "b" { via = launcher.ssh.c }
launcher "ssh" "c" {}
profile "p" { launcher = [launcher.cluster.a, "local"] }
profile "q" { launcher = "local" }
profile "r" {}`)
	a, b, c := f.Launchers[0], f.Launchers[1], f.Launchers[2]
	if a.Via != c || b.Via != c || c.Via != nil {
		t.Errorf("%v, %v, %v", a.Via, b.Via, c.Via)
	}
	p, q, r := f.Profiles[0].Launchers, f.Profiles[1].Launchers, f.Profiles[2].Launchers
	if len(p) != 2 || p[0] != a || p[1].Kind != config.Local || len(q) != 1 || q[0] != p[1] || len(r) != 0 {
		t.Errorf("%v, %v, %v", p, q, r)
	}
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
	if _, err := f.Profile("p"); err == nil {
		t.Error("a profile that is not there")
	}
}

// FuzzParse: no text makes it panic, and what is taken can be evaluated
// without running anything. Maps make it run other lines each time for the same text,
// which would be made smaller for a minute: it wants -fuzzminimizetime 1x.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("../../examples/full.hcl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("launcher \"cluster\" \"a\" {\n scheduler = \"slurm\"\n setup = concat([exec([\"a\", exec([\"b\"])])], [worker.url])\n cpus = exec([\"c\"])\n options = <<-EOT\n  ${worker[\"url\"]}\n EOT\n}"))
	f.Add([]byte("launcher \"ssh\" \"a\" {\n remotes = [for i in [1, 2] : \"ssh://h${i}\"]\n state = \"$S/m\"\n via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {\n via = launcher.ssh.a\n}"))
	f.Add([]byte("profile \"p\" {\n launcher = [\"local\"]\n url = host_url({port=1})\n workers = exec([null]) == \"x\" ? 1 : 2\n worker {\n slots = 1\n }\n}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 20_000 {
			return
		}
		c, err := config.Parse("f.hcl", src, plan.Schema())
		if err != nil {
			if err.Error() == "" {
				t.Error("an error says nothing")
			}
			return
		}
		for _, policy := range []config.ExecPolicy{config.Leave, config.Placeholder} {
			e := c.Evaluate(config.Options{Getenv: getenv, Exec: policy, Redact: policy == config.Placeholder})
			for _, l := range c.Launchers {
				e.Show(l)
				var err error
				if l.Kind == "ssh" {
					var s plan.SSHSettings
					err = errors.Join(e.Launcher(l, &s), e.LauncherFor(l, config.Worker{URL: "u"}, &s), c.Errors(s.Check(l)))
				} else {
					var s plan.ClusterSettings
					err = errors.Join(e.Launcher(l, &s), e.LauncherFor(l, config.Worker{URL: "u"}, &s), c.Errors(s.Check(l)))
				}
				if err != nil && err.Error() == "" {
					t.Error("an error says nothing")
				}
			}
			for _, p := range c.Profiles {
				var s plan.ProfileSettings
				e.Profile(p, &s)
				e.ShowProfile(p)
			}
		}
	})
}

// TestJoin: mistakes that several have found are told once each, in the order of the
// file, and what has no place behind them.
func TestJoin(t *testing.T) {
	f := parse(t, "launcher \"cluster\" \"a\" {\n  name = \"x\"\n  queue = \"y\"\n}")
	a := f.Launchers[0]
	name, queue := f.At(a.Where("name"), 0, "one", ""), f.At(a.Where("queue"), 0, "two", "")
	err := f.Join(errors.New("other"), queue, nil, errors.Join(name, f.Join(queue, name)), f.At(a.Where("queue"), 0, "three", ""))
	var told *config.Error
	if !errors.As(err, &told) || len(told.List) != 3 || told.List[0].Msg != "one" || told.List[1].Msg != "two" || told.List[2].Msg != "three" || !strings.HasSuffix(err.Error(), "\nother") {
		t.Errorf("%v", err)
	}
	if err := f.Join(nil, errors.Join(), f.Join()); err != nil {
		t.Errorf("nothing is %v", err)
	}
}
