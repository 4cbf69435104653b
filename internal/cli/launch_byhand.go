package cli

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/plan"
	"muster/internal/shell"
	"muster/internal/units"
)

const (
	// maxLine is how long a line may be that is pasted at a terminal, in bytes: its
	// driver takes 4095 and the line break, and drops the rest (termios(3), canonical
	// mode).
	maxLine = 4095

	// maxByHand is how many lines are printed at once. Each has a token of its own that
	// the dispatcher keeps.
	maxByHand = 1000
)

// printByHand prints a line for each worker, which a person pastes where it is to run.
func printByHand(c *cli.Context, s streams, pl *pool, o launchOptions) (err error) {
	n := max(o.workers, 1)
	if n > maxByHand {
		return usageError{hinted{fmt.Errorf("-n %d: %d lines are the most that are printed for a person", n, maxByHand), "`muster join new --uses N -o FILE` makes one file for more workers"}}
	}
	mints := &minting{c: c}
	defer func() {
		if err != nil {
			mints.revoke()
		}
	}()
	lines, err := byHandLines(mints, pl, o, n)
	if err != nil {
		return err
	}
	if len(mints.all) == 0 {
		mints.sayNone(s, "up")
	}
	mints.say(s, these(n))
	if o.json {
		list := []*plan.Submission{}
		for _, l := range lines {
			list = append(list, l.submission())
		}
		return writeJSON(s.out, list)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(s.out, l.text()); err != nil {
			return err
		}
	}
	return nil
}

func these(n int) string {
	if n == 1 {
		return "this line"
	}
	return "these lines, one with each"
}

// byHandLines are the lines of n workers. Where they name a file it is one for all;
// where they hold the join string each has its own, which lets in one worker, once: who
// pastes a line may leave it where others read it.
func byHandLines(mints *minting, pl *pool, o launchOptions, n int) ([]byHandLine, error) {
	wish := control.JoinRequest{Uses: n, Valid: units.Duration(o.valid), Elsewhere: true}
	if o.showSecrets {
		wish.Uses, wish.Once = 1, true
	}
	var lines []byHandLine
	for i := range n {
		if i > 0 && !wish.Once {
			lines = append(lines, lines[0])
			continue
		}
		m, err := mints.mint(wish)
		if err != nil {
			return nil, err
		}
		line := byHandLine{worker: handWorker(pl), file: "JOIN_FILE"}
		switch {
		case m.run == "" && o.showSecrets:
			line.file, line.join = "", "JOIN_STRING"
		case m.run != "" && o.showSecrets:
			line.file, line.join = "", m.join.Encode()
		case m.run != "":
			if err := m.write(); err != nil {
				return nil, err
			}
			line.file = m.file()
		}
		if o.download {
			if line.from, err = downloadFrom(m); err != nil {
				return nil, err
			}
			line.system = system()
		}
		if line.join != "" {
			if line, err = line.short(m); err != nil {
				return nil, err
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// handWorker is the worker of a profile.
func handWorker(pl *pool) plan.Worker {
	if pl == nil {
		return plan.Worker{}
	}
	return plan.Worker{Slots: pl.set.Worker.Slots, Walltime: pl.set.Worker.Walltime, Options: pl.options()}
}

// byHandLine is a line that a person pastes.
type byHandLine struct {
	worker plan.Worker
	file   string // the join file, or
	join   string // the join string
	from   string // where scp finds the program; empty if it is in PATH there
	system string // which it is for, as uname -sm says; empty if that is not known
}

// text is the line, for any POSIX shell. With a join string it begins with a blank:
// shells that are told to ignore such lines keep it out of their history. Nothing
// secret is on a command line.
func (l byHandLine) text() string {
	words := l.worker.Argv("muster", l.file)
	line := shell.Join(words)
	if l.from != "" {
		line = `"$d/muster" ` + shell.Join(words[1:])
	}
	if l.join != "" {
		line = plan.JoinVariable + "=" + shell.Quote(l.join) + " " + line
	}
	if l.from != "" {
		line = "(" + l.check() + `d=$(mktemp -d) && scp -q ` + shell.Quote(l.from) + ` "$d/muster" && ` + line + `; s=$?; rm -rf "$d"; exit $s)`
	}
	if l.join != "" {
		line = " " + line
	}
	return line
}

// check leaves a machine for which the program is not: some shells would take it for a
// script there.
func (l byHandLine) check() string {
	if l.system == "" {
		return ""
	}
	return `test "$(uname -sm)" = ` + shell.Quote(l.system) + ` || { echo "muster: this is $(uname -sm), and the program to be fetched is for ` + l.system + `" >&2; exit 1; }; `
}

// submission is what a program runs in the place of the person: words without a secret,
// and what they read.
func (l byHandLine) submission() *plan.Submission {
	sub := &plan.Submission{Launcher: byHand, Argv: []string{"sh"}, Workers: 1}
	switch {
	case l.from != "":
		sub.Script = l.text() + "\n"
	case l.join != "":
		sub.Argv, sub.Script = l.worker.Argv("muster", "-"), l.join+"\n"
	default:
		sub.Argv = l.worker.Argv("muster", l.file)
	}
	return sub
}

// short is the line with a join string that fits. That has fewer addresses if all do
// not: the best come first.
func (l byHandLine) short(m minted) (byHandLine, error) {
	for join := m.join; len(l.text()) > maxLine; l.join = join.Encode() {
		if len(join.Addrs) < 2 {
			if n := join.Authority.Carried(); n > 0 {
				return l, hinted{fmt.Errorf("the line has %d bytes, and a terminal takes %d: what the tls block has in chain and crl is %d of them", len(l.text()), maxLine, n),
					"chain_path and crl_path in the tls block name files on the workers' machines instead; or leave --show-secrets out, and the line names a join file"}
			}
			return l, hinted{fmt.Errorf("the line has %d bytes, and a terminal takes %d", len(l.text()), maxLine), "without --show-secrets it names a file"}
		}
		join.Addrs = join.Addrs[:len(join.Addrs)-1]
	}
	return l, nil
}

// downloadFrom is where scp finds this program, as workers reach this machine.
func downloadFrom(m minted) (string, error) {
	path, err := programPath()
	if err != nil {
		return "", err
	}
	if m.run == "" {
		return "HOST:" + path, nil
	}
	if _, err := program(); err != nil { // it is there when it is fetched
		return "", err
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(m.url(), "tls+tcp://"))
	if err != nil {
		return "", hinted{errors.New("it is not known under which name other machines reach this one"), "url in the profile says"}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return userName() + "@" + host + ":" + path, nil
}

// system is what this machine is, in the words of uname -sm, or empty.
func system() string {
	out, err := exec.Command("uname", "-sm").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
