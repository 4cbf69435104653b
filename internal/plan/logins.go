package plan

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"muster/internal/config"
	"muster/internal/remote"
	"muster/internal/shell"
	mssh "muster/ssh"
)

// SSH starts workers on machines that are logged in to.
type SSH struct {
	Hosts   []remote.Login `json:"hosts"`
	PerHost int            `json:"per_host"`
	Tunnel  bool           `json:"tunnel,omitempty"` // its workers dial their own machine
	Bare    bool           `json:"bare,omitempty"`   // one login for each worker, in R mirai's words
	Workdir string         `json:"workdir"`          // where workers start
	// Commands are what workers run that are not started by muster's own command
	// line: those of the first host, then those of the next.
	Commands []string `json:"commands,omitempty"`
}

// Tag is what configs call the kind.
func (*SSH) Tag() string { return "ssh" }

// Way is on how many machines.
func (s *SSH) Way() string { return "by SSH on " + count(len(s.Hosts), "machine") }

func (s *SSH) whole(p *Plan) error {
	if have, want := len(s.Commands), len(s.Hosts)*s.PerHost; s.PerHost < 0 || p.Whose != Own && have != want {
		return fmt.Errorf("launcher %s: a plan of %d commands for %d workers", p.Launcher, have, want)
	}
	return nil
}

// Places are the machines.
func (s *SSH) Places() []Place {
	var list []Place
	for _, l := range s.Hosts {
		list = append(list, Place{Login: l, Tunnel: s.Tunnel, Relayed: s.Tunnel})
	}
	return list
}

// Parts are the workers of each machine, counted from 1.
func (s *SSH) Parts() []Part {
	var parts []Part
	for i := range s.Hosts {
		part := Part{Place: i}
		for n := range s.PerHost {
			part.Indices = append(part.Indices, n+1)
		}
		parts = append(parts, part)
	}
	return parts
}

// Element names a worker of a launch; index is from 1.
func Element(launch string, index int) string { return launch + "." + strconv.Itoa(index) }

// Patience is how long a worker that was started by SSH dials before it has ever
// joined: the link may be lost just then.
const Patience = time.Minute

// own are the options of a worker that others do not have. One that a person pastes is
// of no launch.
func own(launch string, index int) []string {
	if launch == "" {
		return nil
	}
	return []string{"--element", Element(launch, index), "--patience", Patience.String()}
}

// Argv is the command line of a host's index-th worker, from 1. The host is counted
// from 0.
func (s *SSH) Argv(p *Plan, host, index int) []string {
	n := p.Names[host]
	if p.Whose == Own {
		return p.Worker.Argv(n.Muster, n.JoinFile, own(n.Launch, index)...)
	}
	return []string{"sh", "-c", s.commands(host)[index-1]}
}

func (s *SSH) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for i := range s.Hosts {
		var more []*Submission
		var err error
		if p.Whose == Foreign {
			more = s.Foreign(p, i)
		} else {
			more, err = s.logins(p, i)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// pastedTimeout is for a login that a person pastes.
const pastedTimeout = 10 * time.Second

// login is the login of a host as it is pasted.
func (s *SSH) login(host int) remote.Login {
	l := s.Hosts[host]
	if l.Timeout == 0 {
		l.Timeout = pastedTimeout
	}
	return l
}

// logins are what a person would run to start muster's workers on one machine: put
// the program there, put the join file there, start the workers.
func (s *SSH) logins(p *Plan, host int) ([]*Submission, error) {
	l, n := s.login(host), p.Names[host]
	var list []*Submission
	add := func(script, file string, workers int, change func(*mssh.Command)) error {
		text, err := mssh.LoginCommand(script)
		switch {
		case err != nil && p.Whose == Wrapped:
			text = "exec sh -c " + shell.Quote(script) // as well as it can be said
		case err != nil:
			return fmt.Errorf("launcher %s: %w", p.Launcher, err)
		}
		c := command(l, text)
		change(&c)
		list = append(list, &Submission{Launcher: p.Launcher, Argv: c.Argv(), File: file, Workers: workers, line: c.Line()})
		return nil
	}
	asIs := func(*mssh.Command) {}
	if l.Muster == "" {
		dir := path.Dir(s.program(p, host))
		if err := add(`umask 077; d="`+dir+`"; test -x "$d/muster" || { mkdir -p "$d" && cat >"$d/new" && chmod 700 "$d/new" && mv "$d/new" "$d/muster"; }`, n.Muster, 0, asIs); err != nil {
			return nil, err
		}
	}
	if err := add("umask 077; cat >"+pastedFile(n), n.JoinFile, 0, asIs); err != nil {
		return nil, err
	}
	err := add(s.several(p, host), "", s.PerHost, func(c *mssh.Command) {
		if c.Background = true; s.Tunnel {
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

// several runs the workers of a host at once in one login, which carries the tunnel
// of all.
func (s *SSH) several(p *Plan, host int) string {
	if p.Whose == Wrapped {
		return background(s.commands(host))
	}
	line := s.line(p, host)
	if s.PerHost == 1 {
		return "exec " + line
	}
	return "for i in " + strings.TrimSuffix(strings.Repeat("x ", s.PerHost), " ") + "; do " + line + " & done; wait"
}

// line is a worker's command line as a person pastes it.
func (s *SSH) line(p *Plan, host int) string {
	var words []string
	for i, w := range p.Worker.Argv(s.program(p, host), pastedFile(p.Names[host])) {
		if i == len(p.Worker.Before) {
			w = expanded(w)
		} else {
			w = quote(w)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// program is muster on a host, as a shell there expands it in double quotes.
func (s *SSH) program(p *Plan, host int) string {
	l := s.Hosts[host]
	if l.Muster != "" {
		return l.Muster
	}
	return stateDir(l.State) + "/bin/" + path.Base(path.Dir(p.Names[host].Muster)) + "/muster"
}

// pastedFile is the join file on a host, in the folder where a login begins.
func pastedFile(n Names) string { return "." + path.Base(n.JoinFile) }

// seen is what a worker_command sees of a host's index-th worker, whom muster starts,
// or a person who pastes it.
func (s *SSH) seen(p *Plan, host, index int) config.Worker {
	n := p.Names[host]
	w := config.Worker{URL: n.URL, Index: strconv.Itoa(host*s.PerHost + index)}
	if n.Launch == "" {
		w.JoinFile = pastedFile(n)
		w.Argv, w.Command = p.Worker.Argv(s.program(p, host), w.JoinFile), s.line(p, host)
		return w
	}
	w.JoinFile = n.JoinFile
	w.Argv = p.Worker.Argv(n.Muster, n.JoinFile, own(n.Launch, index)...)
	w.Command = shell.Join(w.Argv)
	return w
}

// commands are those of a host's workers.
func (s *SSH) commands(host int) []string { return s.Commands[host*s.PerHost:][:s.PerHost] }

// background runs commands at once, if there are several.
func background(commands []string) string {
	if len(commands) == 1 {
		return commands[0]
	}
	var line strings.Builder
	for _, c := range commands {
		c = strings.TrimRight(c, " \t\n")
		switch {
		case strings.ContainsAny(c, "\n#"):
			c = "( " + c + "\n)"
		case strings.ContainsAny(c, ";&"):
			c = "( " + c + " )"
		}
		line.WriteString(c + " & ")
	}
	return line.String() + "wait"
}

// expanded is one word for a shell in a LoginCommand to expand variables in.
func expanded(w string) string {
	if shell.Quote(w) == w && !strings.HasPrefix(w, ".") {
		return w
	}
	return `"` + w + `"`
}

// quote is for words of a LoginCommand, in which there may be no single quote:
// those that need one are refused there.
func quote(w string) string {
	if q := shell.Quote(w); q == w || strings.ContainsAny(w, "\"$`\\") {
		return q
	}
	return `"` + w + `"`
}

// Foreign are the command lines that start other people's workers on one machine:
// one login for each, as R mirai does, with bare; else one for all.
func (s *SSH) Foreign(p *Plan, host int) []*Submission {
	if s.PerHost == 0 {
		return nil
	}
	l, n := s.login(host), p.Names[host]
	commands := s.commands(host)
	c := command(l, "")
	c.Background, c.Mirai = true, s.Bare
	if s.Tunnel {
		c.Forward = n.Port
	}
	if !s.Bare {
		c.Remote = background(commands)
		return []*Submission{{Launcher: p.Launcher, Argv: c.Argv(), Workers: s.PerHost, line: c.Line()}}
	}
	var list []*Submission
	for _, text := range commands {
		c.Remote = text
		list = append(list, &Submission{Launcher: p.Launcher, Argv: c.Argv(), Workers: 1, line: c.Line()})
	}
	return list
}
