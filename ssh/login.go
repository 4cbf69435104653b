package ssh

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"muster/internal/terminal"
)

// login tries one way to log in after the other, each once: servers that count
// failures (PerSourcePenalties in sshd_config(5)) shut out whole addresses. A
// person is asked again as often as ssh would, within the same connection.
type login struct {
	ctx     context.Context
	h       *host
	ask     Prompt // nil: nobody can be asked
	keys    []identity
	tried   []string       // for the message, in order
	allowed []string       // what the server said last
	passed  int            // ways that were taken and not enough
	asked   map[string]int // times that a person was asked, by method
	silent  map[string]bool
}

// maxQuestions bounds what a server can make a person answer in one login.
const maxQuestions = 32

func newLogin(ctx context.Context, h *host, ask Prompt) *login {
	return &login{ctx: ctx, h: h, ask: ask, asked: map[string]int{}, silent: map[string]bool{}}
}

// next chooses what to try now (ssh.ClientAuthCallback).
func (l *login) next(server *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	l.allowed = server.AllowedMethods
	if n := len(server.PartialSuccessMethods); n > l.passed && len(l.tried) > 0 {
		l.passed = n
		last := &l.tried[len(l.tried)-1]
		*last = strings.TrimSuffix(*last, ": refused") + ": taken, but not enough"
	}
	for _, m := range l.h.methods {
		if !slices.Contains(l.allowed, m) {
			continue
		}
		if m == publicKey {
			if len(l.keys) > 0 {
				return l.offer(), nil
			}
			continue
		}
		if method := l.person(m); method != nil {
			return method, nil
		}
	}
	return nil, nil
}

// offer tries the next key.
func (l *login) offer() gossh.AuthMethod {
	id := l.keys[0]
	l.keys = l.keys[1:]
	if id.public == nil { // an old format that hides it too
		signer, err := id.signer(l.ctx)
		if err != nil {
			l.note("%s: %v", id.name, err)
			return gossh.PublicKeys()
		}
		l.note("%s: refused", id.name)
		return gossh.PublicKeys(signer)
	}
	l.note("%s: refused", id.name)
	mine := len(l.tried) - 1
	return gossh.PublicKeys(lazySigner{l.ctx, id, func(err error) {
		l.tried[mine] = fmt.Sprintf("%s: %v", id.name, err)
	}})
}

// person tries what needs one, or returns nil if there is no point in it.
func (l *login) person(method string) gossh.AuthMethod {
	switch {
	case l.silent[method] || l.asked[method] >= l.h.prompts:
		return nil
	case l.ask == nil:
		l.silent[method] = true
		l.note("%s: nobody can be asked", method)
		return nil
	}
	if l.asked[method]++; l.asked[method] == 1 {
		l.note("%s: refused", method)
	}
	if method == password {
		return gossh.PasswordCallback(func() (string, error) {
			return l.question(method, fmt.Sprintf("%s@%s's password: ", l.h.User, l.h.keyName()), false)
		})
	}
	answered := 0
	l.silent[method] = true // until it has asked something
	return gossh.KeyboardInteractive(func(name, instruction string, questions []string, echo []bool) ([]string, error) {
		if len(questions) > 0 {
			l.silent[method] = false
		}
		if answered += len(questions); answered > maxQuestions {
			return nil, fmt.Errorf("the server asks more than %d questions", maxQuestions)
		}
		return l.challenge(name, instruction, questions, echo)
	})
}

// challenge asks all that a server wants to know at once, such as a password
// and a code (RFC 4256, section 3.2). Each line of the server's begins with who says it,
// so that none passes for a question of another host.
func (l *login) challenge(name, instruction string, questions []string, echo []bool) ([]string, error) {
	var answers []string
	for i, q := range questions {
		text := printable(q)
		if i == 0 {
			text = preface(name) + preface(instruction) + text
		}
		who := fmt.Sprintf("(%s@%s) ", l.h.User, l.h.keyName())
		text = who + strings.ReplaceAll(text, "\n", "\n"+who)
		a, err := l.question(keyboard, text, echo[i])
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func preface(s string) string {
	if s = strings.TrimSpace(printable(s)); s == "" {
		return ""
	}
	return s + "\n"
}

// question asks once, and never again by any method when nobody answers.
func (l *login) question(method, text string, echo bool) (string, error) {
	answer, err := l.ask(l.ctx, Question{Text: text, Echo: echo})
	if err != nil {
		l.silent[keyboard], l.silent[password] = true, true
		l.tried[len(l.tried)-1] = fmt.Sprintf("%s: %v", method, err)
	}
	return answer, err
}

func (l *login) note(format string, args ...any) {
	l.tried = append(l.tried, fmt.Sprintf(format, args...))
}

// failure says what was tried and what can be done.
func (l *login) failure(err error) error {
	var text strings.Builder
	fmt.Fprintf(&text, "log in to %s as %s: the server refused", l.h.Host, l.h.User)
	if len(l.allowed) > 0 {
		fmt.Fprintf(&text, "; it takes %s", strings.Join(l.allowed, ", "))
	}
	if len(l.tried) == 0 {
		text.WriteString("; there was nothing to try")
	} else {
		fmt.Fprintf(&text, "; tried %s", strings.Join(l.tried, "; "))
	}
	if cause := disconnected(err); cause != "" {
		fmt.Fprintf(&text, "; then it hung up: %s", cause)
	}
	fmt.Fprintf(&text, ": %s", l.advice())
	return &Error{Kind: ErrAuth, Host: l.h.Host, Text: text.String(), Err: err}
}

func (l *login) advice() string {
	switch {
	case len(l.tried) > 5:
		return "servers count each key as a try: name the right one with IdentityFile and set IdentitiesOnly yes in ssh_config"
	case l.ask == nil && (slices.Contains(l.allowed, password) || slices.Contains(l.allowed, keyboard)):
		return "start it from a terminal to be asked, or install a key there with ssh-copy-id"
	case slices.Contains(l.allowed, "gssapi-with-mic") && !slices.Contains(l.allowed, publicKey):
		return `client = "openssh" can use Kerberos`
	}
	return fmt.Sprintf("see whether this works: ssh %s", l.h.command())
}

// disconnected returns the server's last words if it closed the connection.
func disconnected(err error) string {
	if err == nil {
		return ""
	}
	_, text, ok := strings.Cut(err.Error(), "ssh: disconnect, reason ")
	if !ok {
		return ""
	}
	return printable(text)
}

// printable makes what a server said safe to show on a terminal, at most 4 KiB
// of it.
func printable(s string) string {
	const most = 4 << 10
	return terminal.Safe(strings.ReplaceAll(s[:min(len(s), most)], "\r\n", "\n"))
}
