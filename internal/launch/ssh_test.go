package launch_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
	"muster/internal/launch"
	mssh "muster/ssh"
)

// machines are what the launchers of the tests are reached through, or are.
const machines = `
launcher "ssh" "outer" {
  remotes = ["ssh://me@outer:2222"]
}
launcher "ssh" "middle" {
  remotes = ["ssh://middle"]
  via     = launcher.ssh.outer
}
launcher "ssh" "two" {
  remotes = ["ssh://one", "ssh://two"]
}
`

// planFor plans the first launcher of a config.
func planFor(t *testing.T, kind, settings string, w launch.Wish, times int) (*launch.Plan, error) {
	t.Helper()
	f, err := config.Parse("muster.hcl", []byte("launcher \""+kind+"\" \"l\" {\n"+settings+"\n}\n"+machines))
	if err != nil {
		t.Fatal(err)
	}
	return launch.For(f, f.Launchers[0], config.Scope{}, w, times)
}

// TestSSHPlans: which machines, by which way, and how many workers.
func TestSSHPlans(t *testing.T) {
	const one, two = `remotes = ["ssh://me@[::1]:222"]`, `remotes = ["ssh://a", "ssh://b"]`
	outer, middle := mssh.Target{User: "me", Host: "outer", Port: 2222}, mssh.Target{Host: "middle"}
	for _, c := range []struct {
		settings string
		wish     launch.Wish
		times    int
		workers  int
		slots    int
		hosts    []mssh.Target
		jump     []mssh.Target
	}{
		{one, launch.Wish{}, 0, 1, 0, []mssh.Target{{User: "me", Host: "::1", Port: 222}}, nil},
		{one, launch.Wish{Slots: 4}, 3, 3, 4, nil, nil},
		{one + "\nslots = 2", launch.Wish{Slots: 4}, 1, 1, 2, nil, nil},
		{two, launch.Wish{}, 3, 6, 0, []mssh.Target{{Host: "a"}, {Host: "b"}}, nil},
		{two, launch.Wish{Workers: 2}, 3, 4, 0, nil, nil},
		{one + "\nvia = launcher.ssh.outer", launch.Wish{}, 1, 1, 0, nil, []mssh.Target{outer}},
		{two + "\nvia = launcher.ssh.middle", launch.Wish{}, 1, 2, 0, nil, []mssh.Target{outer, middle}},
	} {
		p, err := planFor(t, "ssh", c.settings, c.wish, c.times)
		if err != nil {
			t.Errorf("%s: %v", c.settings, err)
			continue
		}
		if p.Workers() != c.workers || p.Slots != c.slots || p.Poll != launch.DefaultPoll || p.Dialect != nil || !p.Remote() || p.Relayed() {
			t.Errorf("%s: %d workers, %+v", c.settings, p.Workers(), p)
		}
		for i, h := range p.Hosts {
			if c.hosts != nil && h.Target != c.hosts[i] || !slices.Equal(h.Jump, c.jump) {
				t.Errorf("%s: the machines are %+v", c.settings, p.Hosts)
			}
		}
		if n := p.Sized(5).Workers(); n != 5*len(p.Hosts) {
			t.Errorf("%s: five on each are %d", c.settings, n)
		}
	}
}

// TestSSHSettings: each finds its way into the plan.
func TestSSHSettings(t *testing.T) {
	p, err := planFor(t, "ssh", `remotes = ["ssh://a"]
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
binary     = "/b"`, launch.Wish{Profile: "p", Port: "1", Walltime: time.Hour}, 1)
	if err != nil {
		t.Fatal(err)
	}
	h := p.Hosts[0]
	if h.Timeout != 5*time.Second || h.Command != "ssh -4" || h.Client != mssh.OpenSSH || !h.AcceptNew || h.State != "~/s" || !slices.Equal(h.Addresses, []string{"x"}) ||
		h.Muster != "/m" || h.Binary != "/b" {
		t.Errorf("%+v", h)
	}
	if !p.Tunnel || !p.Relayed() || p.Poll != 3*time.Second || p.Profile != "p" || p.Port != "1" || p.Walltime() != time.Hour || p.Muster != "/m" {
		t.Errorf("%+v", p)
	}
	if d := p.Short().Walltime(); d != time.Minute || p.Walltime() != time.Hour {
		t.Errorf("a short one lasts %s, and the other now %s", d, p.Walltime())
	}
}

func TestClusterVia(t *testing.T) {
	p, err := planFor(t, "cluster", "scheduler = \"slurm\"\nvia = launcher.ssh.middle", launch.Wish{}, 1)
	if err != nil || p.Via == nil || p.Via.Target.Host != "middle" || len(p.Via.Jump) != 1 || !p.Relayed() || !p.Remote() {
		t.Fatalf("%+v, %v", p, err)
	}
	p, err = planFor(t, "cluster", "scheduler = \"slurm\"", launch.Wish{}, 1)
	if err != nil || p.Via != nil || p.Relayed() || p.Remote() {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestSSHMistakes stand where they were made.
func TestSSHMistakes(t *testing.T) {
	for settings, wants := range map[string][]string{
		"  remotes = [\"ssh://a\", \"b\"]":                                                     {"muster.hcl:2:13: \"b\" is not of the form ssh://[user@]host[:port]", `hint: remotes = ["ssh://user@host:22"]`},
		"  remotes = [\"ssh://me:secret@a\"]":                                                  {"muster.hcl:2:13:", "leave it out, you will be asked"},
		"  remotes = []":                                                                       {"muster.hcl:2:13: it names no machine"},
		"  remotes = [\"ssh://a\"]\n  via = launcher.ssh.two":                                  {"muster.hcl:3:9: via leads through one machine, and launcher ssh.two names 2"},
		"  remotes = [\"ssh://a\"]\n  tunnel = true\n  worker_command = \"dask\"":              {"muster.hcl:3:12: a tunnel for other people's workers needs to know which port they dial", `hint: url = "tcp://127.0.0.1:5555" in the profile says`},
		"  remotes = [\"ssh://a\"]\n  workdir = \"data\"":                                      {"muster.hcl:3:13: workdir is \"data\", which depends on where a login begins"},
		"  remotes = [\"ssh://a\"]\n  state = \"/a b\"\n  client = \"putty\"\n  bare = true\n": {"3:11: state is \"/a b\"", `client is "putty"`, "5:10: bare is for the command of other people's workers"},
	} {
		_, err := planFor(t, "ssh", settings, launch.Wish{}, 1)
		if err == nil {
			t.Errorf("%s\nwas taken", settings)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nno %q in\n%v", settings, want, err)
			}
		}
		if strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], "secret") {
			t.Errorf("a password is told: %v", err)
		}
	}
	if _, err := planFor(t, "cluster", "scheduler = \"slurm\"\n  via = launcher.ssh.two", launch.Wish{}, 1); err == nil || !strings.Contains(err.Error(), "muster.hcl:3:9: via leads through one machine") {
		t.Error(err)
	}
}

// TestSSHIsShownWithoutSecrets: what comes from outside does not keep a launcher
// from being shown.
func TestSSHIsShownWithoutSecrets(t *testing.T) {
	f, err := config.Parse("muster.hcl", []byte(`launcher "ssh" "l" {
  remotes = [env("HOST"), "ssh://b"]
  workdir = env("DIR")
  state   = "${env("DIR")}/s"
}`))
	if err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) (string, bool) {
		value, ok := map[string]string{"HOST": "ssh://me@secret", "DIR": "/secret"}[name]
		return value, ok
	}
	p, err := launch.SSH(f, f.Launchers[0], config.Scope{Getenv: getenv}, launch.Wish{}, 1)
	if err != nil || p.Hosts[0].Target.String() != "ssh://me@secret" || p.Hosts[0].State != "/secret/s" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = launch.SSH(f, f.Launchers[0], config.Scope{Getenv: getenv, Redact: true}, launch.Wish{}, 1); err != nil {
		t.Fatal(err)
	}
	list, err := p.Submissions(p.Placeholders("SHA/muster"))
	if err != nil || len(list) != 6 {
		t.Fatalf("%d lines, %v", len(list), err)
	}
	for _, s := range list {
		if line := s.Shell(); strings.Contains(line, "secret") || !strings.Contains(line, config.Redacted) {
			t.Errorf("it is shown as %s", line)
		}
	}
}
