package remote

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"muster/internal/prompt"
	mssh "muster/ssh"
)

// person answers at a socket, each question with the next of the answers to it.
type person struct {
	socket  string
	asked   []string
	answers map[string][]string
}

func newPerson(t *testing.T, answers map[string][]string) *person {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &person{socket: filepath.Join(dir, "s"), answers: answers}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prompt.Serve(l, p.answer))
	return p
}

func (p *person) answer(_ context.Context, q prompt.Question) (string, error) {
	p.asked = append(p.asked, q.Text)
	list := p.answers[q.Text]
	if len(list) == 0 {
		return "", errors.New("no answer to that")
	}
	p.answers[q.Text] = list[1:]
	return list[0], nil
}

const (
	password   = "me@host's password: "
	passphrase = "Enter passphrase for key '/k': "
	code       = "(me@host) Verification code: "
	onetime    = "(me@host) One-time password (OATH) for `me': "
	hostKey    = "Is this the password manager's key (yes/no)? "
)

// TestMemory: what was typed for one login is tried once in the next, and what
// is good but once is never kept.
func TestMemory(t *testing.T) {
	p := newPerson(t, map[string][]string{password: {"wrong", "right", "new"}, passphrase: {"phrase"}, code: {"1", "2"}, onetime: {"3", "4"}, hostKey: {"yes", "yes"}})
	m := &memory{}
	if m.prompt() != nil {
		t.Error("with nobody to be asked, somebody is")
	}
	m.from(p.socket)
	login := func(questions []string, want []string, asked []string) {
		t.Helper()
		p.asked = nil
		var got []string
		ask := m.prompt()
		for _, q := range questions {
			answer, err := ask(t.Context(), mssh.Question{Text: q, Echo: q == hostKey})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, answer)
		}
		if !slices.Equal(got, want) || !slices.Equal(p.asked, asked) {
			t.Errorf("%q is answered %q, want %q; asked of a person is %q, want %q", questions, got, want, p.asked, asked)
		}
	}
	// The first login: a password is mistyped.
	all := []string{hostKey, passphrase, password, password, code, onetime}
	login(all, []string{"yes", "phrase", "wrong", "right", "1", "3"}, all)
	// The next, when the link is lost.
	m.fresh()
	login([]string{hostKey, passphrase, password, code, onetime}, []string{"yes", "phrase", "right", "2", "4"}, []string{hostKey, code, onetime})
	// The password has been changed: it is tried once.
	m.fresh()
	login([]string{password, password}, []string{"right", "new"}, []string{password})
	m.fresh()
	login([]string{password, passphrase}, []string{"new", "phrase"}, nil)
}

// TestMemoryWithoutAnybody: what is known is used although the command has ended
// at whose terminal it was typed.
func TestMemoryWithoutAnybody(t *testing.T) {
	p := newPerson(t, map[string][]string{password: {"right"}})
	m := &memory{}
	m.from(p.socket)
	if _, err := m.ask(t.Context(), mssh.Question{Text: password}); err != nil {
		t.Fatal(err)
	}
	m.from(filepath.Join(t.TempDir(), "gone"))
	if answer, err := m.ask(t.Context(), mssh.Question{Text: password}); answer != "right" || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	for _, q := range []string{password, code} {
		if answer, err := m.ask(t.Context(), mssh.Question{Text: q}); answer != "" || !errors.Is(err, prompt.ErrNobody) {
			t.Errorf("%q: %q, %v", q, answer, err)
		}
	}
}

func TestMemoryGoesToOpenSSH(t *testing.T) {
	askpass := func(socket string) []string { return []string{"S=" + socket} }
	m := &memory{}
	if env := m.env(askpass); env != nil {
		t.Errorf("with nobody to be asked: %q", env)
	}
	m.from("/s")
	m.fresh() // asks at the same place
	if env := m.env(askpass); !slices.Equal(env, []string{"S=/s"}) {
		t.Errorf("%q", env)
	}
	if env := m.env(nil); env != nil {
		t.Errorf("without askpass: %q", env)
	}
}
