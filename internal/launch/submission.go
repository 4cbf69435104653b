package launch

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"muster/internal/remote"
	"muster/internal/shell"
	mssh "muster/ssh"
)

// Submission is one command that starts workers, or prepares that, as it would
// be run.
type Submission struct {
	Launcher  string   `json:"launcher"`
	Scheduler string   `json:"scheduler,omitempty"` // none by SSH
	Argv      []string `json:"argv"`
	Script    string   `json:"stdin,omitempty"`
	File      string   `json:"stdin_file,omitempty"` // what the command reads instead
	Workers   int      `json:"workers"`

	line string // the command as a person writes it, if not as Argv says
}

// Shell writes the submission as a person would paste it.
func (s *Submission) Shell() string {
	line := s.line
	if line == "" {
		line = shell.Join(s.Argv)
	}
	switch {
	case s.File != "":
		return line + " <" + shell.Quote(s.File) + "\n"
	case s.Script == "":
		return line + "\n"
	}
	mark := "EOF"
	for i := 1; strings.Contains("\n"+s.Script, "\n"+mark+"\n"); i++ {
		mark = "EOF_" + strconv.Itoa(i)
	}
	return line + "<<'" + mark + "'\n" + s.Script + mark + "\n"
}

// portText stands for a port that is not known yet.
const portText = "PORT"

// Submissions are all that the plan would run.
func (p *Plan) Submissions(n Names) ([]*Submission, error) {
	var list []*Submission
	for i := range p.Arrays {
		s, err := p.Render(i, n)
		if err != nil {
			return nil, err
		}
		if p.Via != nil {
			c := command(*p.Via, shell.Join(s.Argv))
			s.Argv, s.line = c.Argv(), c.Line()
		}
		list = append(list, s)
	}
	for _, host := range p.Hosts {
		more, err := p.login(host, n)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// defaultTimeout is for a login that a person pastes.
const defaultTimeout = 10 * time.Second

// login is what a person would run to start the plan's workers on one machine.
func (p *Plan) login(l remote.Login, n Names) ([]*Submission, error) {
	if l.Timeout == 0 {
		l.Timeout = defaultTimeout
	}
	if p.Foreign {
		return p.foreignLogin(l, n), nil
	}
	var list []*Submission
	add := func(script, file string, workers int, change func(*mssh.Command)) error {
		text, err := mssh.LoginCommand(script)
		if err != nil {
			return fmt.Errorf("launcher %s: %w", p.Launcher, err)
		}
		c := command(l, text)
		if change != nil {
			change(&c)
		}
		list = append(list, &Submission{Launcher: p.Launcher, Argv: c.Argv(), File: file, Workers: workers, line: c.Line()})
		return nil
	}
	program := quote(l.Muster)
	if l.Muster == "" {
		dir := stateDir(l.State) + "/bin/" + path.Base(path.Dir(n.Muster))
		program = `"` + dir + `/muster"`
		if err := add(`umask 077; d="`+dir+`"; test -x "$d/muster" || { mkdir -p "$d" && cat >"$d/new" && chmod 700 "$d/new" && mv "$d/new" "$d/muster"; }`, n.Muster, 0, nil); err != nil {
			return nil, err
		}
	}
	file := "." + path.Base(n.JoinFile)
	if err := add("umask 077; cat >"+file, n.JoinFile, 0, nil); err != nil {
		return nil, err
	}
	err := add(several(p.line(program, file), p.PerHost), "", p.PerHost, func(c *mssh.Command) {
		if c.Background = true; p.Tunnel {
			c.Forward = n.Port
		}
	})
	return list, err
}

// stateDir is muster's folder there, for a shell there to expand in double
// quotes.
func stateDir(state string) string {
	if state == "" {
		return ".local/state/muster" // below the home, where a login begins
	}
	if rest, ok := strings.CutPrefix(state, "~"); ok {
		return "$HOME" + rest
	}
	return state
}

// line is the command line of a worker, with its program as the shell there is
// to read it.
func (p *Plan) line(program, joinFile string) string {
	argv := p.worker("", joinFile)
	var words []string
	for i, w := range argv {
		if i == len(p.Before) {
			words = append(words, program)
			continue
		}
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

// quote is for words of a LoginCommand, in which there may be no single quote:
// those that need one are refused there.
func quote(w string) string {
	if q := shell.Quote(w); q == w || strings.ContainsAny(w, "\"$`\\") {
		return q
	}
	return `"` + w + `"`
}

// several runs a command n times at once in one login, which carries the tunnel
// of all.
func several(line string, n int) string {
	if n == 1 {
		return "exec " + line
	}
	return "for i in " + strings.TrimSuffix(strings.Repeat("x ", n), " ") + "; do " + line + " & done; wait"
}

// foreignLogin starts other people's workers: one login for each, as R mirai
// does, with bare; else one for all of a machine.
func (p *Plan) foreignLogin(l remote.Login, n Names) []*Submission {
	c := command(l, p.foreign)
	c.Background, c.Mirai = true, p.bare
	if p.Tunnel {
		c.Forward = n.Port
	}
	if p.bare {
		var list []*Submission
		for range p.PerHost {
			list = append(list, &Submission{Launcher: p.Launcher, Argv: c.Argv(), Workers: 1, line: c.Line()})
		}
		return list
	}
	if p.PerHost > 1 {
		c.Remote = strings.Repeat(p.foreign+" & ", p.PerHost) + "wait"
	}
	return []*Submission{{Launcher: p.Launcher, Argv: c.Argv(), Workers: p.PerHost, line: c.Line()}}
}
