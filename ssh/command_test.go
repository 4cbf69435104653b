package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]Target{
		"ssh://login.example.org":        {Host: "login.example.org"},
		"ssh://me@login:222":             {"me", "login", 222},
		"ssh://me@login:222/":            {"me", "login", 222},
		"ssh://[::1]":                    {Host: "::1"},
		"ssh://me@[fe80::1%eth0]:22":     {"me", "fe80::1%eth0", 22},
		"ssh://first.last@example.org@h": {"first.last@example.org", "h", 0},
		"ssh://alias_of-mine":            {Host: "alias_of-mine"},
		`ssh://DOMAIN\me@h`:              {`DOMAIN\me`, "h", 0},
	} {
		got, err := ParseTarget(in)
		if strings.Contains(in, "@example.org@") {
			if err == nil {
				t.Errorf("%s was taken for %+v", in, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
		if back, err := ParseTarget(got.String()); err != nil || back != got {
			t.Errorf("%s: %s came back as %+v %v", in, got, back, err)
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for in, says := range map[string]string{
		"login":                              "ssh://[user@]host[:port]",
		"http://login":                       "ssh://[user@]host[:port]",
		"ssh://":                             "host is missing",
		"ssh://me@":                          "host is missing",
		"ssh://@h":                           "user before @ is missing",
		"ssh://me:secret@h":                  "leave it out",
		"ssh://h/path":                       "paths",
		"ssh://h?q":                          "paths",
		"ssh://-h":                           "begin with -",
		"ssh://-me@h":                        "begin with -",
		"ssh://h:0":                          "1 to 65535",
		"ssh://h:65536":                      "1 to 65535",
		"ssh://h:x":                          "1 to 65535",
		"ssh://h:":                           "1 to 65535",
		"ssh://::1":                          "brackets",
		"ssh://[::1":                         "brackets",
		"ssh://[h]":                          "brackets",
		"ssh://[::1]22":                      "not a port",
		"ssh://h\n":                          "characters",
		"ssh://h h":                          "characters",
		"ssh://me\x1b@h":                     "characters",
		"ssh://$(id)@h":                      "characters",
		"ssh://h;id":                         "characters",
		"ssh://h\xff":                        "characters",
		"ssh://" + strings.Repeat("h", 2000): "longer",
	} {
		_, err := ParseTarget(in)
		has(t, err, says)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"ssh://u@h:22", "ssh://[::1]:1", "ssh://a@b@c", "ssh://[fe80::1%e]", "ssh://u:p@h", "ssh://-o"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			return
		}
		if back, err := ParseTarget(got.String()); err != nil || back != got {
			t.Fatalf("%q: %+v came back as %+v, %v", s, got, back, err)
		}
		if strings.HasPrefix(got.login(), "-") || strings.ContainsAny(got.login(), " \n'\"$`;|&") {
			t.Fatalf("%q makes the word %q", s, got.login())
		}
	})
}

func TestCommand(t *testing.T) {
	host := Target{"user", "host", 222}
	for _, tc := range []struct {
		name string
		c    Command
		want string
	}{
		{"tunnel", Command{Target: host, Forward: "5555", Timeout: 10 * time.Second, Background: true, Remote: "muster worker"},
			`ssh -R 127.0.0.1:5555:127.0.0.1:5555 -o ExitOnForwardFailure=yes -o ConnectTimeout=10 -fT -p 222 user@host 'muster worker'`},
		{"least", Command{Target: Target{Host: "host"}}, `ssh host`},
		{"jump", Command{Target: Target{Host: "::1"}, Jump: []Target{{"a", "fe80::2", 7}, {Host: "b"}}, Timeout: 1500 * time.Millisecond, Remote: "hostname"},
			`ssh -o ConnectTimeout=2 -J 'a@[fe80::2]:7,b' ::1 hostname`},
		// What R mirai's launch_remote() gives to sh.
		{"mirai", Command{Mirai: true, Target: host, Timeout: 10 * time.Second, Remote: `Rscript -e 'mirai::daemon("tcp://h:5555")'`},
			`ssh -o ConnectTimeout=10 -fTp 222 user@host 'Rscript -e '\''mirai::daemon("tcp://h:5555")'\'''`},
		{"mirai: tunnel", Command{Mirai: true, Target: Target{Host: "h"}, Forward: "5555", Remote: "x"},
			`ssh -R 5555:127.0.0.1:5555 -o ConnectTimeout=10 -fTp 22 h 'x'`},
	} {
		if got := tc.c.Line(); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", tc.name, got, tc.want)
		}
	}
}

// fakeSSH is a folder with an ssh that prints its words, each ended by NUL.
func fakeSSH(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\nprintf '%s\\0' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"echo it's", "$HOME `id`", "a\nb", "", "-x", `\`, "\xff", "# ! ~ *"} {
		f.Add(s, uint16(5555), true, false)
		f.Add(s, uint16(0), false, true)
	}
	dir := fakeSSH(f)
	f.Fuzz(func(t *testing.T, arg string, port uint16, background, mirai bool) {
		if strings.ContainsRune(arg, 0) {
			t.Skip("no word of a command can hold a NUL")
		}
		// What the far side's shell gets has to come back from a second shell.
		remote := "printf '%s' " + "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		c := Command{Target: Target{"u", "h", 222}, Remote: remote, Background: background, Mirai: mirai, Timeout: time.Second}
		if port != 0 {
			c.Forward = strconv.Itoa(int(port))
		}
		sh := exec.Command("/bin/sh", "-c", c.Line())
		sh.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, err := sh.Output()
		if err != nil {
			t.Fatalf("sh refused %s: %v", c.Line(), err)
		}
		words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if !slices.Equal(words, c.Argv()[1:]) {
			t.Fatalf("%s\ncame back as %q\nwant %q", c.Line(), words, c.Argv()[1:])
		}
		if got, err := exec.Command("/bin/sh", "-c", words[len(words)-1]).Output(); err != nil || string(got) != arg {
			t.Fatalf("the remote shell made %q of %q: %v", got, arg, err)
		}
	})
}

// TestLoginCommand runs what LoginCommand makes in every shell that is here, as
// sshd does: SHELL -c COMMAND.
func TestLoginCommand(t *testing.T) {
	script := `echo "$0 $HOME" $((1+2)) ${NOWHERE:-none} $(echo sub) ` + "`echo old`" + ` "a  b" {x,y} ~ * [a] 2>&1; for i in 1 2; do echo $i; done; test "$NOWHERE" = "" && printf %s\; # end`
	script = strings.ReplaceAll(script, `\;`, `";"`)
	command, err := LoginCommand(script)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := ""
	for _, sh := range []string{"sh", "bash", "csh", "tcsh", "fish", "zsh"} {
		t.Run(sh, func(t *testing.T) {
			path := needs(t, sh, sh)
			cmd := exec.Command(path, "-c", command)
			cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=/h ome"}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if want == "" {
				want = string(out)
				if !strings.HasPrefix(want, "sh /h ome 3 none sub old a  b {x,y}") || !strings.HasSuffix(want, ";") {
					t.Fatalf("sh made %q of it", want)
				}
			}
			if string(out) != want {
				t.Errorf("%q, want %q", out, want)
			}
		})
	}
}

func TestLoginCommandRefuses(t *testing.T) {
	for _, s := range []string{"echo 'a'", "a\nb", "a\rb", `a\b`, "a!b", "a\x00b", "", " ", strings.Repeat("a", maxLogin+1)} {
		if c, err := LoginCommand(s); err == nil {
			t.Errorf("%q became %q", s, c)
		}
	}
	longest, err := LoginCommand("echo " + strings.Repeat("a", maxLogin-5))
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range []string{"csh", "tcsh", "fish"} {
		path, err := exec.LookPath(sh)
		if err != nil {
			continue
		}
		if out, err := exec.Command(path, "-c", longest).Output(); err != nil || len(out) != maxLogin-4 {
			t.Errorf("%s: %d bytes, %v", sh, len(out), err)
		}
	}
}
