package ssh

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// fakeServer accepts connections and hands each to serve, for what OpenSSH's
// server cannot be made to do.
func fakeServer(t *testing.T, serve func(net.Conn)) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return Target{User: me(t), Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

// known writes an ssh_config that trusts the key and has nothing else.
func known(t *testing.T, at Target, key gossh.PublicKey, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	line := fmt.Sprintf("[%s]:%d %s", at.Host, at.Port, gossh.MarshalAuthorizedKey(key))
	text := strings.Join(lines, "\n") + fmt.Sprintf("\nHost *\nUserKnownHostsFile %s/known\nGlobalKnownHostsFile /dev/null\nIdentityFile none\nIdentityAgent none\n", dir)
	for name, content := range map[string]string{"known": line, "config": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config")
}

func hostKey(t *testing.T) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serveSSH does a login and runs one command, which says in.
func serveSSH(c net.Conn, config *gossh.ServerConfig) {
	conn, channels, requests, err := gossh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go gossh.DiscardRequests(requests)
	for ch := range channels {
		session, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					session.Write([]byte("in\n"))
					session.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					session.Close()
				}
			}
		}()
	}
}

// TestTwoFactors asks for a password and a code at once, then for one more.
func TestTwoFactors(t *testing.T) {
	key := hostKey(t)
	var mu sync.Mutex
	var got []string
	config := &gossh.ServerConfig{KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
		first, err := ask("Two factors", "Have your telephone\x1b[2J ready\r\nroot@login.example.org's password: \n\n(root@other) Password: ", []string{"Password: ", "Code: "}, []bool{false, true})
		if err != nil {
			return nil, err
		}
		second, err := ask("", "", []string{"Really? "}, []bool{true})
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if got = append(first, second...); strings.Join(got, " ") == "swordfish 123456 yes" {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
	config.AddHostKey(key)
	at := fakeServer(t, func(c net.Conn) { serveSSH(c, config) })
	each(t, func() *person {
		return newPerson(map[string]string{"Password:": "swordfish", "Code:": "123456", "Really?": "yes"})
	}, func(t *testing.T, o Options, p *person) {
		o.Target, o.Config = at, known(t, at, key.PublicKey())
		works(t, o)
		text := strings.Join(p.questions(), "\n")
		for line := range strings.Lines(text) {
			if o.Client == Native && !strings.HasPrefix(line, "("+at.User+"@127.0.0.1") {
				t.Errorf("a line of the server's does not say so: %q", line)
			}
		}
		if o.Client == Native && !strings.Contains(text, "telephone") || strings.Contains(text, "\x1b") { // ssh prints it where nobody looks
			t.Errorf("asked %q", text)
		}
	})
}

// TestEndlessQuestions is a server that never has enough.
func TestEndlessQuestions(t *testing.T) {
	key := hostKey(t)
	config := &gossh.ServerConfig{KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
		for {
			if _, err := ask("", "", []string{"More? "}, []bool{true}); err != nil {
				return nil, err
			}
		}
	}}
	config.AddHostKey(key)
	at := fakeServer(t, func(c net.Conn) { serveSSH(c, config) })
	p := newPerson(map[string]string{"More?": "yes"})
	err := refused(t, Options{Target: at, Config: known(t, at, key.PublicKey()), Prompt: p.prompt})
	if !errors.Is(err, ErrAuth) {
		t.Error(err)
	}
	if n := len(p.questions()); n > 3*maxQuestions {
		t.Errorf("asked %d times", n)
	}
}
