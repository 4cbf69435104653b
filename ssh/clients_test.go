package ssh

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// person answers questions by what is in them, and remembers them.
type person struct {
	answers map[string]string // by a part of the question, for ssh's askpass too
	block   bool              // never answers

	mu    sync.Mutex // guards asked
	asked []string
	came  chan struct{} // closed at the first question
	once  sync.Once
	file  string // questions that askpass was given
}

func newPerson(answers map[string]string) *person {
	return &person{answers: answers, came: make(chan struct{})}
}

func (p *person) prompt(ctx context.Context, q Question) (string, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q.Text)
	p.mu.Unlock()
	p.once.Do(func() { close(p.came) })
	if p.block {
		<-ctx.Done()
		return "", ctx.Err()
	}
	for part, a := range p.answers {
		if strings.Contains(q.Text, part) {
			return a, nil
		}
	}
	return "", fmt.Errorf("no answer to %q", q.Text)
}

// askpass makes a program for the openssh client that does the same.
func (p *person) askpass(t *testing.T, dir string) []string {
	t.Helper()
	p.file = filepath.Join(dir, "asked")
	var script strings.Builder
	fmt.Fprintf(&script, "#!/bin/sh\nprintf '%%s\\n' \"$1\" >>'%s'\n", p.file)
	if p.block {
		script.WriteString("exec sleep 1000\n")
	}
	script.WriteString("case $1 in\n")
	for part, a := range p.answers {
		fmt.Fprintf(&script, "*'%s'*) echo '%s';;\n", strings.ReplaceAll(part, "'", `'\''`), a)
	}
	script.WriteString("*) exit 1;;\nesac\n")
	path := filepath.Join(dir, "askpass")
	if err := os.WriteFile(path, []byte(script.String()), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"SSH_ASKPASS=" + path, "SSH_ASKPASS_REQUIRE=force"}
}

// questions returns what was asked so far.
func (p *person) questions() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, _ := os.ReadFile(p.file)
	return append(slices.Clone(p.asked), strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })...)
}

// waitAsked waits for the first question; a script has no event to tell us.
func (p *person) waitAsked(t *testing.T) {
	t.Helper()
	eventually(t, "a question", func() bool { return len(p.questions()) > 0 })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// each runs a test with both clients. p may be nil: nobody can be asked.
func each(t *testing.T, p func() *person, test func(t *testing.T, o Options, p *person)) {
	t.Helper()
	for _, client := range []string{Native, OpenSSH} {
		t.Run(client, func(t *testing.T) {
			before := runtime.NumGoroutine()
			o := Options{Client: client, Timeout: 10 * time.Second, Target: Target{Host: "node", User: me(t)},
				Log: hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug})}
			var asked *person
			if p != nil {
				asked = p()
			}
			if client == OpenSSH {
				needs(t, "ssh", "openssh-client")
				o.ControlDir = shortDir(t)
				t.Cleanup(func() { empty(t, o.ControlDir) })
			}
			if asked != nil {
				if o.Prompt = asked.prompt; client == OpenSSH {
					o.Askpass = asked.askpass(t, t.TempDir())
				}
			}
			test(t, o, asked)
			if !t.Failed() {
				eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
				eventually(t, "ssh to end", func() bool { return !childOfOurs("ssh") })
			}
		})
	}
}

// childOfOurs reports whether a process of that name is our child.
func childOfOurs(name string) bool {
	return slices.ContainsFunc(descendants(os.Getpid()), func(pid int) bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return strings.TrimSpace(string(text)) == name
	})
}

// shortDir is a folder for a control socket, which t.TempDir is too long for.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind in the control folder: %v %v", left, err)
	}
}

func dial(t *testing.T, o Options) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused dials in vain and returns the error.
func refused(t *testing.T, o Options) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := Dial(ctx, o)
	if err == nil {
		c.Close()
		t.Fatal("the login went through")
	}
	t.Log(err)
	return err
}

// works runs a command to see that a login is one.
func works(t *testing.T, o Options) {
	t.Helper()
	c := dial(t, o)
	defer c.Close()
	out, err := c.Run(t.Context(), "echo in", nil)
	if err != nil || string(out.Stdout) != "in\n" || out.Code != 0 {
		t.Fatalf("echo: %+v %v", out, err)
	}
}

func has(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("the error does not say %q: %v", p, err)
		}
	}
}
