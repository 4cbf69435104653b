package cli

import (
	"fmt"
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/plan"
	"muster/internal/shell"
)

// maxLine is how long a line may be that is pasted at a terminal, in bytes: its driver
// takes 4095 and the line break, and drops the rest (termios(3), canonical mode).
const maxLine = 4095

// printByHand prints a line for each worker, which a person pastes where it is to run.
func printByHand(c *cli.Context, s streams, pl *pool, o launchOptions) error {
	n := max(o.workers, 1)
	m, err := mint(c, control.JoinRequest{Uses: n, Valid: control.Duration(o.valid), Elsewhere: true})
	if err != nil {
		return err
	}
	line := byHandLine{worker: handWorker(pl), program: "muster", file: "JOIN_FILE", download: o.download}
	switch {
	case m.run == "":
		fmt.Fprintln(s.err, "muster: no dispatcher is running for them: words in capitals stand for what `muster up` makes")
	case !o.showSecrets:
		if err := m.write(); err != nil {
			return err
		}
		line.file = m.file()
	}
	if o.download {
		if line.program, err = downloadFrom(m); err != nil {
			return err
		}
	}
	text := line.text("")
	if m.run != "" && o.showSecrets {
		if text, err = shortEnough(line, m); err != nil {
			return err
		}
	}
	list := []*plan.Submission{}
	for range n {
		list = append(list, &plan.Submission{Launcher: byHand, Argv: []string{"sh", "-c", strings.TrimSpace(text)}, Workers: 1})
	}
	if o.json {
		return writeJSON(s.out, list)
	}
	for range list {
		fmt.Fprintln(s.out, text)
	}
	if m.run != "" {
		fmt.Fprintf(s.err, "muster: %s may join with %s, for %v\n", plural(n, "worker"), these(n), o.valid)
	}
	return nil
}

func these(n int) string {
	if n == 1 {
		return "this line"
	}
	return "these lines, one with each"
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
	worker   plan.Worker
	program  string // muster there; with download, where scp finds it
	file     string // the join file
	download bool
}

// text is the line, for any POSIX shell. With a join string it begins with a blank:
// shells that are told to ignore such lines keep it out of their history.
func (l byHandLine) text(join string) string {
	program, file := l.program, l.file
	if l.download {
		program = "$d/muster"
	}
	if join != "" {
		file = ""
	}
	words := l.worker.Argv(program, file)
	line := shell.Join(words[1:])
	if l.download {
		line = `"$d/muster" ` + line
	} else {
		line = shell.Quote(program) + " " + line
	}
	if join != "" {
		line = plan.JoinVariable + "=" + join + " " + line
	}
	if l.download {
		line = `d=$(mktemp -d) && scp -q ` + shell.Quote(l.program) + ` "$d/muster" && ` + line
	}
	if join != "" {
		line = " " + line
	}
	return line
}

// shortEnough is the line with a join string, which has fewer addresses if all do not
// fit: the best come first.
func shortEnough(l byHandLine, m minted) (string, error) {
	for join := m.join; len(join.Addrs) > 0; join.Addrs = join.Addrs[:len(join.Addrs)-1] {
		if text := l.text(join.Encode()); len(text) <= maxLine {
			return text, nil
		}
	}
	return "", hinted{fmt.Errorf("the line would be longer than the %d bytes that a terminal takes", maxLine), "without --show-secrets it names a file"}
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
		return "", hinted{fmt.Errorf("it is not known under which name other machines reach this one"), "url in the profile says"}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return userName() + "@" + host + ":" + path, nil
}
