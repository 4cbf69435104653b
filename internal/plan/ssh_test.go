package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
	"muster/internal/plan"
	mssh "muster/ssh"
)

func ssh(p *plan.Plan) *plan.SSH { return p.Kind.(*plan.SSH) }

// TestSSHPlans: which machines, by which way, and how many workers.
func TestSSHPlans(t *testing.T) {
	const one, two = `remotes = ["ssh://me@[::1]:222"]`, `remotes = ["ssh://a", "ssh://b"]`
	outer, middle := mssh.Target{User: "me", Host: "outer", Port: 2222}, mssh.Target{Host: "middle"}
	for _, c := range []struct {
		settings string
		wish     plan.Wish
		workers  int
		slots    int
		hosts    []mssh.Target
		jump     []mssh.Target
	}{
		{one, plan.Wish{Times: plan.AsArray}, 0, 0, nil, nil},
		{one, plan.Wish{}, 0, 0, nil, nil},
		{one, plan.Wish{Times: 1}, 1, 0, []mssh.Target{{User: "me", Host: "::1", Port: 222}}, nil},
		{one, plan.Wish{Times: 3, Slots: 4}, 3, 4, nil, nil},
		{one + "\nslots = 2", plan.Wish{Times: 1, Slots: 4}, 1, 2, nil, nil},
		{two, plan.Wish{Times: 3}, 6, 0, []mssh.Target{{Host: "a"}, {Host: "b"}}, nil},
		{two, plan.Wish{Times: 3, Workers: 2}, 4, 0, nil, nil},
		{two + "\nbare = true\nworker_command = \"x\"", plan.Wish{Workers: 3}, 6, 0, nil, nil},
		{one + "\nvia = launcher.ssh.outer", once, 1, 0, nil, []mssh.Target{outer}},
		{two + "\nvia = launcher.ssh.middle", once, 2, 0, nil, []mssh.Target{outer, middle}},
	} {
		p := named(t, draft(t, "ssh", c.settings, c.wish))
		if p.Workers() != c.workers || p.Worker.Slots != c.slots || p.Poll != 10*time.Second || p.Relayed() || p.Whose == plan.Own && len(p.Logins()) != len(ssh(p).Hosts) {
			t.Errorf("%s: %d workers, %+v", c.settings, p.Workers(), p)
		}
		for i, h := range ssh(p).Hosts {
			if c.hosts != nil && h.Target != c.hosts[i] || !slices.Equal(h.Jump, c.jump) {
				t.Errorf("%s: the machines are %+v", c.settings, ssh(p).Hosts)
			}
		}
		started := 0
		list, err := p.Submissions()
		for _, s := range list {
			started += s.Workers
		}
		if err != nil || started != c.workers {
			t.Errorf("%s: what is pasted starts %d workers, %v", c.settings, started, err)
		}
	}
}

// TestSSHSettings: each finds its way into the plan.
func TestSSHSettings(t *testing.T) {
	d := draft(t, "ssh", `remotes = ["ssh://a"]
tunnel     = true
timeout    = "5s"
command    = "ssh -4"
client     = "openssh"
accept_new = true
state      = "~/s"
addresses  = ["x"]
workdir    = "/w"
poll       = "3s"
muster     = "/m"
binary     = "/b"`, plan.Wish{Times: 1, Profile: "p", Port: "1", Dir: "/typed", Walltime: time.Hour})
	h := ssh(d.Plan).Hosts[0]
	if h.Timeout != 5*time.Second || h.Command != "ssh -4" || h.Client != mssh.OpenSSH || !h.AcceptNew || h.State != "~/s" || !slices.Equal(h.Addresses, []string{"x"}) ||
		h.Muster != "/m" || h.Binary != "/b" {
		t.Errorf("%+v", h)
	}
	if !d.Tunnelled() || !d.Relayed() || d.Poll != 3*time.Second || d.Profile != "p" || d.Worker.Walltime != time.Hour || d.Muster != "/m" || d.Worker.Dir != "/w" || ssh(d.Plan).Workdir != "/w" {
		t.Errorf("%+v", d.Plan)
	}
	if n := d.Placeholders("/here")[0]; n.Port != "1" || n.Muster != "/m" {
		t.Errorf("%+v", n)
	}
	if d := draft(t, "ssh", `remotes = ["ssh://a"]`, plan.Wish{Times: 1, Dir: "/typed"}); ssh(d.Plan).Workdir != "/typed" || d.Worker.Dir != "" {
		t.Errorf("%+v", d.Plan)
	}
}

func TestClusterVia(t *testing.T) {
	d := draft(t, "cluster", "scheduler = \"slurm\"\nvia = launcher.ssh.middle", once)
	if l := d.Logins(); len(l) != 1 || l[0].Target.Host != "middle" || len(l[0].Jump) != 1 || !d.Relayed() || d.Tunnelled() {
		t.Errorf("%+v", d.Plan)
	}
	d = draft(t, "cluster", `scheduler = "slurm"`, once)
	if len(d.Logins()) != 0 || d.Relayed() || !d.Kind.Places()[0].Here() {
		t.Errorf("%+v", d.Plan)
	}
}

// TestSSHMistakes stand where they were made.
func TestSSHMistakes(t *testing.T) {
	const a = "  remotes = [\"ssh://a\"]\n"
	for settings, wants := range map[string][]string{
		"  remotes = [\"ssh://a\", \"b\"]":                 {"muster.hcl:2:13: \"b\" is not of the form ssh://[user@]host[:port]", `hint: remotes = ["ssh://user@host:22"]`},
		"  remotes = [\"ssh://me:secret@a\"]":              {"muster.hcl:2:13:", "leave it out, you will be asked"},
		"  remotes = []":                                   {"muster.hcl:2:13: it names no machine"},
		"  slots = 1":                                      {"muster.hcl:1:1: it names no machine"},
		"  remotes = [\"ssh://a\", \"ssh://a\"]":           {"muster.hcl:2:13: ssh://a is named twice"},
		a + "  via = launcher.ssh.two":                     {"muster.hcl:3:9: via leads through one machine, and launcher ssh.two names 2"},
		a + "  tunnel = true\n  worker_command = \"dask\"": {"muster.hcl:3:12: a tunnel for other people's workers needs to know which port they dial", `hint: url = "tcp://127.0.0.1:5555" in the profile says`},
		a + "  workdir = \"data\"":                         {"muster.hcl:3:13: workdir is \"data\", which depends on where a login begins"},
		"  remotes = [\"ssh://a b\", \"ssh://c\", \"ssh://c\", \"d e\"]\n  state = \"x\"\n  via = launcher.ssh.two": {"muster.hcl:2:13: \"ssh://a b\"", "2:13: ssh://c is named twice", "2:13: \"d e\"", "3:11: ", "4:9: via leads through one machine"},
		a + "  state = \"/a b\"\n  muster = \"m\"\n  bare = true\n":                                                 {"3:11: state is \"/a b\"", "4:12: muster is \"m\"", "5:10: bare is for the command of other people's workers"},
		a + "  workdir = worker.index\n  worker_command = \"x ${worker.index}\"\n  state = worker.url":              {"3:13: workdir cannot speak of the worker", "5:11: state cannot speak of the worker", "hint: those that can are worker_command"},
	} {
		_, err := draftOf(parse(t, "ssh", settings), once)
		inOrder(t, settings, err, wants)
		if err != nil && strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], "secret") {
			t.Errorf("a password is told: %v", err)
		}
	}
	_, err := draftOf(parse(t, "cluster", "scheduler = \"slurm\"\n  via = launcher.ssh.two"), once)
	inOrder(t, "via", err, []string{"muster.hcl:3:9: via leads through one machine"})
}

// inOrder wants an error that has texts one after another.
func inOrder(t *testing.T, settings string, err error, wants []string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s\nwas taken", settings)
		return
	}
	rest := err.Error()
	for _, want := range wants {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Errorf("%s\nno %q, or not behind the others, in\n%v", settings, want, err)
			return
		}
		rest = after
	}
}

// TestSSHIsShownWithoutSecrets: what comes from outside does not keep a launcher
// from being shown.
func TestSSHIsShownWithoutSecrets(t *testing.T) {
	f := parse(t, "ssh", `
  remotes = [env("HOST"), exec(["where"]), "ssh://b"]
  workdir = env("DIR")
  state   = "${env("DIR")}/s"
  muster  = exec(["which"])
  binary  = "/b"`)
	getenv := func(name string) (string, bool) {
		value, ok := map[string]string{"HOST": "ssh://me@secret", "DIR": "/secret"}[name]
		return value, ok
	}
	d, err := plan.New(f.Evaluate(config.Options{Getenv: getenv, Exec: config.Placeholder}), f, f.Launchers[0], once)
	if err != nil || ssh(d.Plan).Hosts[0].Target.String() != "ssh://me@secret" || ssh(d.Plan).Hosts[0].State != "/secret/s" {
		t.Fatalf("%+v, %v", d, err)
	}
	if d, err = plan.New(f.Evaluate(config.Options{Getenv: getenv, Redact: true, Exec: config.Placeholder}), f, f.Launchers[0], once); err != nil {
		t.Fatal(err)
	}
	p, err := d.Pasted("SHA/muster")
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.Submissions()
	if err != nil || len(list) != 6 {
		t.Fatalf("%d lines, %v", len(list), err)
	}
	for i, s := range list {
		want := []string{config.Redacted, "[output of where]", "b"}[i/2]
		if line := s.Shell(); strings.Contains(line, "secret") || !strings.Contains(line, want) {
			t.Errorf("it is shown as %s", line)
		}
	}
}

// TestUnknownMachines: a config is checked without running programs.
func TestUnknownMachines(t *testing.T) {
	f, err := config.Parse("muster.hcl", []byte(`launcher "cluster" "l" {
  scheduler = "slurm"
  via       = launcher.ssh.gate
}
launcher "ssh" "gate" {
  remotes = [exec(["machines"])]
}
launcher "ssh" "gates" {
  remotes = [exec(["machines"])]
  via     = launcher.ssh.gate
}`), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []config.ExecPolicy{config.Leave, config.Placeholder} {
		e := f.Evaluate(config.Options{Exec: policy})
		for _, l := range f.Launchers {
			if _, err := plan.New(e, f, l, once); err != nil {
				t.Errorf("%s: %v", l.Full(), err)
			}
		}
	}
}
