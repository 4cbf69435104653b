package ssh

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"muster/internal/shell"
)

// Command is a login as a command line of OpenSSH's client, for people to
// paste and for workers that are not muster's.
type Command struct {
	Target     Target
	Jump       []Target
	Timeout    time.Duration // ConnectTimeout, in whole seconds; 0 leaves it out, or is R mirai's 10
	Program    string        // OpenSSH's client, in words divided by blanks; "" means ssh
	Forward    string        // port of both ends of a remote forward, or a word that stands for one that is not known yet; "" for none
	Background bool          // go there once logged in (-f), and no terminal (-T)
	Remote     string        // command for the remote login shell; "" for the shell itself
	Mirai      bool          // the very words that R mirai's ssh_config() uses
}

// Argv returns the words. The target must be one that ParseTarget returns.
//
// A forward names 127.0.0.1: of a bare port sshd takes [::1] alone when
// 127.0.0.1 is taken, and reports success. And it insists: without
// ExitOnForwardFailure a forward that was refused is but a warning.
func (c Command) Argv() []string {
	if c.Mirai {
		return c.mirai()
	}
	argv := c.program()
	if c.Forward != "" {
		argv = append(argv, "-R", fmt.Sprintf("127.0.0.1:%s:127.0.0.1:%s", c.Forward, c.Forward), "-o", "ExitOnForwardFailure=yes")
	}
	if c.Timeout > 0 {
		argv = append(argv, "-o", connectTimeout(c.Timeout))
	}
	if len(c.Jump) > 0 {
		argv = append(argv, "-J", jumpList(c.Jump))
	}
	if c.Background {
		argv = append(argv, "-fT")
	}
	if c.Target.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(c.Target.Port))
	}
	argv = append(argv, c.Target.login())
	if c.Remote != "" {
		argv = append(argv, c.Remote)
	}
	return argv
}

func (c Command) program() []string {
	if c.Program == "" {
		return []string{"ssh"}
	}
	return strings.Fields(c.Program)
}

// mirai returns what R mirai's ssh_config() makes (R/launchers.R), the port
// always there.
func (c Command) mirai() []string {
	argv := c.program()
	if c.Forward != "" {
		argv = append(argv, "-R", fmt.Sprintf("%s:127.0.0.1:%s", c.Forward, c.Forward))
	}
	timeout, port := c.Timeout, c.Target.Port
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if port == 0 {
		port = 22
	}
	return append(argv, "-o", connectTimeout(timeout), "-fTp", strconv.Itoa(port), c.Target.login(), c.Remote)
}

// Line returns the command as a person pastes it into sh.
func (c Command) Line() string {
	argv := c.Argv()
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = word(w)
	}
	if c.Mirai { // R's shQuote quotes whatever it is given
		words[len(argv)-1] = "'" + strings.ReplaceAll(c.Remote, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// word quotes what needs it. An = means nothing in the words after a command,
// unless one begins with it (zsh, EQUALS), and NAME=value is easier to read.
func word(s string) string {
	bare := strings.ReplaceAll(s, "=", "")
	if s != "" && s[0] != '=' && shell.Quote(bare) == bare {
		return s
	}
	return shell.Quote(s)
}

// login returns [user@]host, where ssh wants an IPv6 address without brackets.
func (t Target) login() string {
	if t.User == "" {
		return t.Host
	}
	return t.User + "@" + t.Host
}

// connectTimeout rounds up: 0 would mean no limit.
func connectTimeout(d time.Duration) string {
	return fmt.Sprintf("ConnectTimeout=%d", (d+time.Second-1)/time.Second)
}

func jumpList(jump []Target) string {
	var places []string
	for _, j := range jump {
		places = append(places, j.place())
	}
	return strings.Join(places, ",")
}

// maxLogin is half of what BSD's csh takes as one word; the others take more.
const maxLogin = 4 << 10

// LoginCommand wraps a script so that any login shell gives it to sh as it is:
// sshd hands a command to the user's own shell, which may be csh, tcsh or fish,
// and all that they share is a word in single quotes. Some characters have no
// form there that all of them read alike, so a script with one is refused: a
// single quote and a backslash (fish has escapes in single quotes, the others
// have none), an exclamation mark (csh's history) and a line end (csh's words
// end there). What needs them goes to the shell's stdin. So does a script
// above 4 KiB, since csh's words end at 8.
func LoginCommand(script string) (string, error) {
	if i := strings.IndexAny(script, "'\\!\n\r\x00"); i >= 0 {
		return "", fmt.Errorf("a script for every login shell must do without %q, which some shells change: send it on stdin", script[i])
	}
	if len(script) > maxLogin {
		return "", fmt.Errorf("a script for every login shell has at most %d bytes: send it on stdin", maxLogin)
	}
	if strings.TrimSpace(script) == "" {
		return "", errors.New("a script for every login shell is empty")
	}
	return "exec sh -c '" + script + "'", nil
}
