package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// find looks a host up in a home with these files below .ssh.
func find(t *testing.T, files map[string]string, t0 Target, o Options) ([]*host, error) {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "HOMEDIR", home)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Target = t0
	o.Getenv = func(n string) string {
		return map[string]string{"HOME": home, "USER": "local", "SSH_AUTH_SOCK": "/agent", "KEYS": "/keys"}[n]
	}
	if o.Config == "" {
		o.Config = filepath.Join(home, ".ssh", "config") // not the machine's own
	}
	o.Log = hclog.NewNullLogger()
	b, err := newBook(o.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	way, err := b.route(t0, o.Jump)
	for _, h := range way {
		for _, list := range [][]string{h.identities, h.certs, h.knownHosts} {
			for i := range list {
				list[i] = strings.ReplaceAll(list[i], home, "~")
			}
		}
	}
	return way, err
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		name, config string
		target       Target
		check        func(h *host) any
		want         any
	}{
		{"alias", "Host a\nHostName real.example\nPort 222\nUser joe", Target{Host: "a"}, func(h *host) any { return h.Target }, Target{"joe", "real.example", 222}},
		{"asked for wins", "Host a\nPort 222\nUser joe", Target{Host: "a", User: "me", Port: 22}, func(h *host) any { return h.Target }, Target{"me", "a", 22}},
		{"defaults", "", Target{Host: "a"}, func(h *host) any { return h.Target }, Target{"local", "a", 22}},
		{"first wins", "Host a\nUser one\nHost *\nUser two", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"before any Host", "User one\nHost a\nUser two", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"negated", "Host !a *\nUser one\nHost *\nUser two", Target{Host: "a"}, func(h *host) any { return h.User }, "two"},
		{"question mark", "Host a?\nUser one\nHost *\nUser two", Target{Host: "a"}, func(h *host) any { return h.User }, "two"},
		{"case", "HOST A\nUSER one", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"equals", "Host = a\nUser=one", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"tabs and comments", "Host\ta # what\n\tUser\tone # who", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"%h", "Host a\nHostName %h.example.org", Target{Host: "a"}, func(h *host) any { return h.Host }, "a.example.org"},
		{"match host", "Host a\nHostName b\nMatch host b\nUser one", Target{Host: "a"}, func(h *host) any { return h.User }, "one"},
		{"match original", "Host a\nHostName b\nMatch originalhost a user x\nUser one", Target{Host: "a"}, func(h *host) any { return h.User }, "local"},
		{"match user", "Match user joe,jim\nPort 7", Target{Host: "a", User: "jim"}, func(h *host) any { return h.Port }, 7},
		{"match not", "Match !localuser local\nPort 7\nMatch all\nPort 8", Target{Host: "a"}, func(h *host) any { return h.Port }, 8},
		{"match final", "Match final all\nPort 7", Target{Host: "a"}, func(h *host) any { return h.Port }, 22},
		{"match exec elsewhere", "Match host b exec \"test x\"\nPort 7", Target{Host: "a"}, func(h *host) any { return h.Port }, 22},
		{"identities", "Host *\nIdentityFile ~/.ssh/%r@%n\nIdentityFile \"/k e y\"\nIdentityFile ${KEYS}/%p", Target{Host: "a"}, func(h *host) any { return h.identities }, []string{"~/.ssh/local@a", "/k e y", "/keys/22"}},
		{"default identities", "", Target{Host: "a"}, func(h *host) any { return h.identities }, []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"}},
		{"agent", "", Target{Host: "a"}, func(h *host) any { return h.agent }, "/agent"},
		{"own agent", "IdentityAgent /other", Target{Host: "a"}, func(h *host) any { return h.agent }, "/other"},
		{"no agent", "IdentityAgent none", Target{Host: "a"}, func(h *host) any { return h.agent }, ""},
		{"known hosts", "UserKnownHostsFile ~/a /b\nGlobalKnownHostsFile none", Target{Host: "a"}, func(h *host) any { return h.knownHosts }, []string{"~/a", "/b"}},
		{"timeouts", "ConnectTimeout 1m30\nServerAliveInterval 7\nServerAliveCountMax 2", Target{Host: "a"}, func(h *host) any { return []any{h.timeout, h.aliveInterval, h.aliveMax} },
			[]any{90 * time.Second, 7 * time.Second, 2}},
		{"no keepalive", "ServerAliveInterval 0", Target{Host: "a"}, func(h *host) any { return h.aliveInterval }, aliveInterval},
		{"methods", "PreferredAuthentications password,gssapi-with-mic,publickey\nPubkeyAuthentication no", Target{Host: "a"}, func(h *host) any { return h.methods }, []string{password}},
		{"proxy none", "ProxyJump none\nProxyCommand nc %h %p", Target{Host: "a"}, func(h *host) any { return h.Host }, "a"},
		{"unknown words", "UseKeychain yes\nCiphers aes128-ctr\nUser joe", Target{Host: "a"}, func(h *host) any { return h.User }, "joe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			way, err := find(t, map[string]string{"config": tc.config}, tc.target, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.check(way[len(way)-1]); fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestConfigInclude(t *testing.T) {
	way, err := find(t, map[string]string{
		"config":        "Host b\nInclude only-b\nHost *\nInclude conf.d/*.conf HOMEDIR/.ssh/last missing\n",
		"only-b":        "User wrong\nHost *\nPort 99",
		"conf.d/1.conf": "Host a\nUser one\nHost z\nPort 1",
		"conf.d/2.conf": "User two\nHost *\nPort 222",
		"last":          "Port 333",
	}, Target{Host: "a"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := way[0].Target; got != (Target{"one", "a", 222}) {
		t.Errorf("got %v", got)
	}
}

func TestRoute(t *testing.T) {
	config := "Host a\nProxyJump me@g1:7,ssh://g2\nHost g1\nProxyJump g0\nHost g2\nProxyJump never\nHost c\nProxyJump none\nHost *\nProxyJump g9\nHost g9 g0\nPort 9"
	config = "Host g9 g0 never\nProxyJump none\n" + config
	for _, tc := range []struct {
		host string
		jump []Target
		want string
	}{
		{"a", nil, "g0 g1:7 g2 a"},
		{"c", nil, "c"},
		{"d", nil, "g9 d"},
		{"a", []Target{}, "a"},
		{"a", []Target{{Host: "x"}}, "g9 x a"},
		{"a", []Target{{Host: "g0"}, {Host: "x"}}, "g0 x a"},
	} {
		way, err := find(t, map[string]string{"config": config}, Target{Host: tc.host}, Options{Jump: tc.jump})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, h := range way {
			name := h.alias
			if h.Port == 7 {
				name += ":7"
			}
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s through %v: %s, want %s", tc.host, tc.jump, got, tc.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tc := range []struct{ name, config, says string }{
		{"quote", "Host a\nUser \"joe", "config:2: the quote"},
		{"empty user", "Host a\n User \"\"", "config:2: user has an empty value, which OpenSSH refuses"},
		{"empty name elsewhere", "Host b\n HostName \"\"", "config:2: hostname has an empty value"},
		{"empty port", "Port=\"\"", "config:1: port has an empty value"},
		{"empty pattern", "Host \"\"", "config:1: host has an empty value"},
		{"no value", "Host a\n\nPort", "config:3: port has no value"},
		{"port", "Port 70000", "config:1: port"},
		{"time", "ConnectTimeout soon", "config:1: connecttimeout"},
		{"strict", "StrictHostKeyChecking maybe", "config:1: stricthostkeychecking"},
		{"token", "IdentityFile %Z", "config:1: identityfile"},
		{"environment", "IdentityFile ${NOWHERE}/id", "NOWHERE is not set"},
		{"proxy command", "Host x\nProxyCommand none\nHost a\nProxyCommand nc %h %p", `config:4: ProxyCommand for a needs ssh itself: choose client = "openssh"`},
		{"match exec", "Match exec true\nUser x", `config:1: only ssh itself can decide Match exec: choose client = "openssh"`},
		{"match nothing", "Match host", "config:1: Match host has no value"},
		{"methods", "PreferredAuthentications gssapi-with-mic", `choose client = "openssh"`},
		{"jump loop", "Host a\nProxyJump b\nHost b\nProxyJump a", "loop"},
		{"jump", "ProxyJump -x", "begin with -"},
		{"include loop", "Include config", "include one another"},
		{"host name", "HostName -oProxyCommand=id", "begin with -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := find(t, map[string]string{"config": tc.config}, Target{Host: "a"}, Options{})
			has(t, err, tc.says)
		})
	}
	if _, err := find(t, nil, Target{Host: "a"}, Options{Config: "/nowhere/config"}); err == nil {
		t.Error("a configuration that was named and is not there is no error")
	}
	if _, err := find(t, map[string]string{"config": "Port bad"}, Target{Host: "a"}, Options{Config: "none"}); err != nil {
		t.Errorf("a file was read although none was wanted: %v", err)
	}
}

func TestConfigOthersMayWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := find(t, nil, Target{Host: "a"}, Options{Config: file})
	has(t, err, "others may write it", "chmod")
}

func FuzzConfig(f *testing.F) {
	f.Add("Host a\nUser \"x y\" # z\nMatch !user a host b\nPort=22\nIdentityFile %%%h${KEYS}\n")
	f.Add("ProxyJump a,b\n\\\"")
	f.Add("connecttimeout 1w2d3h\nUser '")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") {
			t.Skip("that reads this machine's files")
		}
		way, err := find(t, map[string]string{"config": text}, Target{Host: "a"}, Options{})
		if err != nil {
			return
		}
		for _, h := range way {
			if h.check() != nil || h.Port == 0 || h.User == "" || h.timeout <= 0 || slices.Contains(h.identities, "") {
				t.Errorf("%q made %+v", text, h)
			}
		}
	})
}
