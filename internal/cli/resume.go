package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/expand"
	"muster/internal/input"
	"muster/internal/report"
	"muster/task"
)

// resumeOptions say what a run takes from the job log of an earlier one.
type resumeOptions struct{ resume, resumeFailed, retryFailed bool }

func (o *resumeOptions) flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "resume", Destination: &o.resume, Usage: "pass over the inputs that --joblog has, by their numbers"},
		&cli.BoolFlag{Name: "resume-failed", Destination: &o.resumeFailed, Usage: "the same, and run those again that failed"},
		&cli.BoolFlag{Name: "retry-failed", Destination: &o.retryFailed, Usage: "run the commands again that failed, as --joblog has them"},
	}
}

func (o resumeOptions) any() bool { return o.resume || o.resumeFailed || o.retryFailed }

// passes reports whether an input is passed over of which the log has this.
func (o resumeOptions) passes(t report.PastTask) bool {
	switch {
	case o.resumeFailed:
		return t.OK()
	case o.resume:
		return t.Ended()
	}
	return false
}

func (o *runOptions) checkResume() error {
	switch {
	case o.past.any() && o.joblog == "":
		return errors.New("--resume, --resume-failed and --retry-failed go by a job log: give --joblog FILE too")
	case o.past.retryFailed && (o.past.resume || o.past.resumeFailed):
		return errors.New("--retry-failed takes the commands from the log, --resume and --resume-failed the inputs: give one of them")
	case o.past.any() && o.flat:
		return errors.New("--flat is a list of all results, and a run that resumes has a part of them: leave out --flat")
	}
	return nil
}

// readPast reads the job log if the run goes on with it.
func (p *runPlan) readPast() (err error) {
	path, appended := strings.CutPrefix(p.o.joblog, "+")
	p.o.joblog = path
	if !appended && !p.o.past.any() {
		return nil
	}
	if p.o.past.retryFailed {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("--retry-failed: %w", err)
		}
	}
	p.past, err = report.ReadJobLog(path)
	return err
}

// openFailed makes the commands of the log that failed the inputs.
func (p *runPlan) openFailed() (err error) {
	commands := []string{}
	for _, seq := range slices.Sorted(maps.Keys(p.past.Entries)) {
		if t := p.past.Entries[seq]; !t.OK() {
			p.numbers = append(p.numbers, seq)
			commands = append(commands, t.Command)
		}
	}
	p.withShares(commands) // from here on it is known which they need
	if p.in, err = input.Open(input.Options{Sources: []input.Source{{Args: commands}}}); err != nil {
		return err
	}
	p.cmd, err = expand.Compile([]string{"/bin/sh", "-c", "{}"}, expand.Options{Width: 1})
	if err != nil {
		return err
	}
	p.o.shell = true // as they stand in the log
	return p.compileNames(expand.Options{Replace: p.o.replace, Width: 1})
}

// withShares puts marks of shares into commands of a log, which has them as they were
// written.
func (p *runPlan) withShares(argv []string) []string {
	argv = slices.Clone(argv)
	for i, w := range argv {
		argv[i] = expand.Shares(w, func(name string) (string, bool) {
			if slices.Contains(p.o.literal, "share:"+name) {
				return "", false
			}
			return p.shared.mark(name)
		})
	}
	return argv
}

// nextRow returns the next row that is to run and its number, counted from 1 with those
// that are passed over.
func (p *runPlan) nextRow() (row []string, number int, err error) {
	for {
		row, number, err = p.readRow()
		if err != nil {
			return nil, 0, err
		}
		if t, there := p.pastTask(number); !there || !p.o.past.passes(t) {
			return row, number, nil
		}
	}
}

func (p *runPlan) pastTask(number int) (t report.PastTask, there bool) {
	if p.past != nil {
		t, there = p.past.Entries[number]
	}
	return t, there
}

// readRow returns the next row of the inputs and its number.
func (p *runPlan) readRow() (row []string, number int, err error) {
	if len(p.ahead) > 0 {
		row, p.ahead = p.ahead[0], p.ahead[1:]
	} else if row, err = p.in.Next(); err != nil {
		return nil, 0, err
	}
	p.taken++
	number = p.taken
	if p.numbers != nil {
		number = p.numbers[p.taken-1]
	}
	return row, number, p.distinct(row, number)
}

// distinct fails if the results of a row would take the place of another's.
func (p *runPlan) distinct(row []string, number int) error {
	if p.o.results == "" {
		return nil
	}
	if p.places == nil {
		p.places = map[string]int{}
	}
	place := report.ResultPath(task.Row{Values: row, Columns: p.in.Columns()})
	other, taken := p.places[place]
	p.places[place] = number
	if taken && other != number {
		return fmt.Errorf("--results %s: inputs %d and %d are the same, and the results of one would take the place of the other's in %s: give each a column that tells them apart",
			p.o.results, other, number, place)
	}
	return nil
}

// checkDistinct reads the inputs ahead, if all are known, to find the same twice
// before anything starts.
func (p *runPlan) checkDistinct() error {
	if _, known := p.in.Total(); p.o.results == "" || !known {
		return nil
	}
	var rows [][]string
	for {
		row, _, err := p.readRow()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	p.ahead, p.taken = rows, 0
	return nil
}

// passed is how many inputs are passed over, as far as the log knows.
func (p *runPlan) passed() (n int) {
	if p.past == nil {
		return 0
	}
	for _, t := range p.past.Entries {
		if p.o.past.passes(t) {
			n++
		}
	}
	return n
}

// sayPast says what the log keeps from being run.
func (p *runPlan) sayPast(s streams) {
	if p.past == nil {
		return
	}
	if p.past.Torn {
		s.err.Say("%s: its last line was cut off as it was written, and does not count", p.o.joblog)
	}
	if n := p.passed(); n > 0 {
		s.err.Say("%s: passing over %s of an earlier run", p.o.joblog, plural(n, "task"))
	}
}
