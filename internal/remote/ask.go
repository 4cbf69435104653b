package remote

import (
	"context"
	"strings"
	"sync"

	"muster/internal/prompt"
	mssh "muster/ssh"
)

// memory answers a login's questions: from what was typed before, if that was a
// password or a passphrase, else by asking.
type memory struct {
	mu     sync.Mutex // guards all below
	socket string
	known  map[string]string
	told   map[string]bool // answered from memory in this login: it was wrong if it is asked again
}

// from says where questions are answered from now on.
func (m *memory) from(socket string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if socket != "" {
		m.socket = socket
	}
	m.told = map[string]bool{}
}

// fresh begins another login.
func (m *memory) fresh() { m.from("") }

// prompt returns what asks, nil if there is nobody.
func (m *memory) prompt() mssh.Prompt {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.socket == "" {
		return nil
	}
	return m.ask
}

// env is what makes OpenSSH's client ask at the same place.
func (m *memory) env(askpass func(string) []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.socket == "" || askpass == nil {
		return nil
	}
	return askpass(m.socket)
}

// lasts reports whether the answer to a question is good for another login, which
// that of a "One-time password" (pam_oath(8)) is not.
func lasts(question string) bool {
	q := strings.ToLower(question)
	return (strings.Contains(q, "password") || strings.Contains(q, "passphrase")) && !strings.Contains(q, "one-time")
}

func (m *memory) ask(ctx context.Context, q mssh.Question) (string, error) {
	lasting := !q.Echo && lasts(q.Text)
	m.mu.Lock()
	answer, ok := m.known[q.Text]
	if ok && !m.told[q.Text] {
		m.told[q.Text] = true
		m.mu.Unlock()
		return answer, nil
	}
	socket := m.socket
	m.mu.Unlock()
	answer, err := prompt.Dial(socket)(ctx, prompt.Question{Text: q.Text, Echo: q.Echo})
	if err == nil && lasting {
		m.mu.Lock()
		if m.known == nil {
			m.known = map[string]string{}
		}
		m.known[q.Text], m.told[q.Text] = answer, true
		m.mu.Unlock()
	}
	return answer, err
}
