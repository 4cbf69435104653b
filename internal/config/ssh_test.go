package config_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
)

// TestMistakesOfVia are found when the file is read.
func TestMistakesOfVia(t *testing.T) {
	const gate = "launcher \"ssh\" \"gate\" {}\n"
	for src, wants := range map[string][]string{
		gate + "launcher \"cluster\" \"c\" {\n  via = launcher.ssh.gat\n}":                                             {"muster.hcl:3:9: there is no launcher.ssh.gat", `hint: did you mean "launcher.ssh.gate"?`},
		gate + "launcher \"cluster\" \"c\" {\n  via = \"gate\"\n}":                                                     {"muster.hcl:3:9: this names no launcher"},
		gate + "launcher \"cluster\" \"c\" {\n  via = launcher.ssh.gate.x\n}":                                          {"muster.hcl:3:9: this names no launcher"},
		"launcher \"cluster\" \"b\" {}\nlauncher \"ssh\" \"s\" {\n  via = launcher.cluster.b\n}":                       {"muster.hcl:3:9: via leads through a machine that is reached by SSH, and launcher cluster.b is of another kind", "hint: via = launcher.ssh.NAME"},
		"launcher \"ssh\" \"s\" {\n  via = launcher.ssh.s\n}":                                                          {"muster.hcl:2:9: launcher ssh.s would be reached through itself"},
		"launcher \"ssh\" \"a\" {\n  via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {\n  via = launcher.ssh.a\n}":     {"muster.hcl:5:9: launcher ssh.b would be reached through itself"},
		"launcher \"cluster\" \"c\" {\n  via = launcher.ssh.a\n}\nlauncher \"ssh\" \"a\" {\n  via = launcher.ssh.a\n}": {"muster.hcl:5:9: launcher ssh.a would be reached through itself"},
		"launcher \"http\" \"h\" {\n  via = launcher.ssh.a\n}\nlauncher \"ssh\" \"a\" {}":                              {`muster.hcl:2:3: there is no setting "via" here`},
		"launcher \"ssh\" \"a\" {\n  remote = [\"ssh://h\"]\n}":                                                        {`muster.hcl:2:3: there is no setting "remote" here`, `hint: did you mean "remotes"?`},
		"launcher \"ssh\" \"a\" {\n  remotes = \"ssh://h\"\n  tunnel = \"maybe\"\n  timeout = 10\n}":                   {"2:13: remotes: this must be list of string, and is string", "3:12: tunnel: this must be bool", "4:13: timeout:"},
	} {
		_, err := config.Parse("muster.hcl", []byte(src))
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

// TestCircleIsToldOnce, however many launchers it has.
func TestCircleIsToldOnce(t *testing.T) {
	_, err := config.Parse("f", []byte("launcher \"ssh\" \"a\" {\n  via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {\n  via = launcher.ssh.c\n}\nlauncher \"ssh\" \"c\" {\n  via = launcher.ssh.a\n}"))
	if err == nil || strings.Count(err.Error(), "reached through itself") != 1 {
		t.Errorf("%v", err)
	}
}

// TestViaMayBranch: two that are reached through a third are no circle.
func TestViaMayBranch(t *testing.T) {
	f := parse(t, "launcher \"cluster\" \"a\" {\n  via = launcher.ssh.c\n}\nlauncher \"ssh\" \"b\" {\n  via = launcher.ssh.c\n}\nlauncher \"ssh\" \"c\" {}")
	if f.Launchers[0].Via != f.Launchers[2] || f.Launchers[1].Via != f.Launchers[2] || f.Launchers[2].Via != nil {
		t.Errorf("%+v", f.Launchers)
	}
}

func TestMistakesOfSSH(t *testing.T) {
	for settings, wants := range map[string][]string{
		"":                                     {"muster.hcl:1:1: it names no machine", `hint: remotes = ["ssh://user@host:22"]`},
		"remotes = []":                         {"muster.hcl:2:11: it names no machine"},
		"client = \"openshh\"":                 {`muster.hcl:3:10: client is "openshh"`, `did you mean "openssh"?`},
		"workdir = \"data\"\nmuster = \"./m\"": {`3:11: workdir is "data", which depends on where a login begins`, `4:10: muster is "./m"`, "hint: write a path from the root"},
		"workdir = \"~/x\"":                    {`workdir is "~/x"`},
		"state = \"s\"":                        {`3:9: state is "s", which depends on where a login begins: it starts with /, ~/ or a variable`, `hint: such as "/scratch/me/muster" or "$SCRATCH/muster"`},
		"state = \"~bob/s\"":                   {`state is "~bob/s", which depends`},
		"state = \"/a b\"":                     {`state is "/a b", and " " cannot be in it`},
		"state = \"/a/~/b\"":                   {`"~" cannot be in it`},
		"state = \"/$(id)\"":                   {`"(" cannot be in it`},
		"state = \"/`id`\"":                    {"\"`\" cannot be in it"},
		"state = \"/a'b\"":                     {`"'" cannot be in it`},
		"state = \"/ü\"":                       {`"ü" cannot be in it`},
		"state = \"/a\\nb\"":                   {`"\n" cannot be in it`},
		"bare = true":                          {"3:8: bare is for the command of other people's workers", "hint: give worker_command too"},
		"slots = -1":                           {"slots"},
		"timeout = env(\"MY_X\")":              {`timeout: "from MY_X" is no duration`},
		"addresses = [env(\"NOT_SET\")]":       {"the environment variable NOT_SET is not set"},
	} {
		if settings != "" && !strings.HasPrefix(settings, "remotes") {
			settings = "remotes = [\"ssh://h\"]\n" + settings
		}
		f, err := config.Parse("muster.hcl", []byte("launcher \"ssh\" \"a\" {\n"+settings+"\n}"))
		if err == nil {
			_, err = f.SSH(f.Launchers[0], scope)
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nno %q in\n%v", settings, want, err)
			}
		}
	}
}

func TestSSHValues(t *testing.T) {
	f := parse(t, `launcher "ssh" "least" {
  remotes = ["ssh://h"]
}
launcher "ssh" "most" {
  remotes        = ["ssh://${env("MY_H")}", "ssh://b"]
  tunnel         = true
  timeout        = "10s"
  command        = "ssh -4"
  client         = "native"
  accept_new     = true
  state          = "$SCRATCH/muster_1.2-x,+@:=%y"
  addresses      = ["login-ib0"]
  workdir        = "/w"
  slots          = 3
  poll           = "5s"
  muster         = "/m"
  binary         = "m-arm64"
  worker_command = "dask"
  bare           = true
}`)
	got, err := f.SSH(f.Launchers[0], scope)
	if want := (&config.SSH{Remotes: []string{"ssh://h"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = f.SSH(f.Launchers[1], scope)
	want := &config.SSH{Remotes: []string{"ssh://from MY_H", "ssh://b"}, Tunnel: true, Timeout: 10 * time.Second, Command: "ssh -4", Client: "native", AcceptNew: true,
		State: "$SCRATCH/muster_1.2-x,+@:=%y", Addresses: []string{"login-ib0"}, Workdir: "/w", Slots: 3, Poll: 5 * time.Second, Muster: "/m", Binary: "m-arm64",
		WorkerCommand: "dask", Bare: true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, state := range []string{"/", "~/s", "$HOME", "/$A/$B"} {
		f := parse(t, "launcher \"ssh\" \"a\" {\nremotes = [\"ssh://h\"]\nstate = \""+state+"\"\n}")
		if _, err := f.SSH(f.Launchers[0], scope); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// TestSSHIsShown: all that is set, also by which way, and no secret.
func TestSSHIsShown(t *testing.T) {
	f := parse(t, "launcher \"ssh\" \"a\" {\n  remotes = [\"ssh://h\", env(\"MY_H\")]\n  timeout = \"90s\"\n  tunnel = true\n  workdir = env(\"MY_W\")\n  via = launcher.ssh.b\n}\nlauncher \"ssh\" \"b\" {}")
	s := scope
	s.Redact = true
	shown, err := f.Shown(f.Launchers[0], s)
	want := map[string]any{"timeout": "1m30s", "tunnel": true, "workdir": config.Redacted, "via": "ssh.b"}
	remotes, _ := shown["remotes"].([]string)
	delete(shown, "remotes")
	if err != nil || !reflect.DeepEqual(shown, want) || !slices.Contains(remotes, config.Redacted) {
		t.Errorf("%v, %q, %v", shown, remotes, err)
	}
	if c, err := f.SSH(f.Launchers[0], s); err != nil || c.Workdir != config.Redacted {
		t.Errorf("what is only shown is refused: %v", err)
	}
}
