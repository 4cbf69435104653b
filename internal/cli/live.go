package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/expand"
	"muster/internal/report"
)

// liveOptions say what is shown of a task's output while it runs, and what stands before
// its lines.
type liveOptions struct {
	tag                 bool
	tagString           string
	lineBuffer, ungroup bool
}

func (o *liveOptions) flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "tag", Destination: &o.tag, Usage: "put the input and a tab before each line of output"},
		&cli.StringFlag{Name: "tagstring", Destination: &o.tagString, Usage: "put `TEMPLATE` and a tab before each line of output"},
		&cli.BoolFlag{Name: "line-buffer", Aliases: []string{"lb"}, Destination: &o.lineBuffer, Usage: "print lines as tasks print them, with -k task by task"},
		&cli.BoolFlag{Name: "ungroup", Aliases: []string{"u"}, Destination: &o.ungroup, Usage: "print bytes as tasks print them, without -k and --tag"},
	}
}

// way is how the output is shown.
func (o liveOptions) way() report.Live {
	switch {
	case o.lineBuffer:
		return report.Lines
	case o.ungroup:
		return report.Ungrouped
	}
	return report.Grouped
}

// template is the text of what stands before a line; empty for nothing.
func (o liveOptions) template(replace string) string {
	if o.tag && o.tagString == "" {
		return replace
	}
	return strings.ReplaceAll(o.tagString, `\t`, "\t")
}

// check refuses what does not go with options that print results in other forms.
func (o *runOptions) checkLive() error {
	switch live := o.live; {
	case live.lineBuffer && live.ungroup:
		return errors.New("--line-buffer and --ungroup exclude each other")
	case o.json && (live.way() != report.Grouped || live.template("{}") != ""):
		return errors.New("--json prints an object for each task when it has ended: leave out --tag, --tagstring, --line-buffer and --ungroup")
	case o.flat && (live.way() != report.Grouped || live.template("{}") != ""):
		return errors.New("--flat prints a list of results: leave out --tag, --tagstring, --line-buffer and --ungroup")
	case o.sync && live.template("{}") != "":
		return errors.New("--sync runs tasks in this terminal: leave out --tag and --tagstring")
	}
	return nil
}

// compileTag compiles the tag, if there is one.
func (p *runPlan) compileTag(opt expand.Options) (err error) {
	if text := p.o.live.template(p.o.replace); text != "" {
		if p.tag, err = expand.CompileName(text, opt); err != nil {
			return fmt.Errorf("--tagstring: %w", err)
		}
	}
	return nil
}

// tagOf is what stands before the lines of a row's task.
func (p *runPlan) tagOf(row []string, index, slot int) string {
	if p.tag == nil {
		return ""
	}
	return strings.Join(p.tag.Expand(row, index, strconv.Itoa(slot)), " ") + "\t"
}

// printLive prints what tasks that run have printed since the last call. With -k it is
// that of the task whose turn it is; the others wait.
func (e *execution) printLive() (first error) {
	for _, d := range e.b.TakePrinted() {
		switch {
		case e.order != nil && d.Index > e.turn && d.Over:
			first = cmp.Or(first, d.Output.Close())
		case e.order != nil && d.Index > e.turn:
			e.printed[d.Index] = d
		default:
			first = cmp.Or(first, e.grow(d))
		}
	}
	return first
}

// turnAfter is the number of the input whose turn it is to be printed after another's.
func (p *runPlan) turnAfter(number int) int {
	if i, there := slices.BinarySearch(p.numbers, number+1); !there && i < len(p.numbers) {
		return p.numbers[i]
	}
	for number++; ; number++ {
		if t, there := p.pastTask(number); !there || !p.o.past.passes(t) {
			return number
		}
	}
}

// printTurn prints what the task has printed by now whose turn has come.
func (e *execution) printTurn() error {
	d := e.printed[e.turn]
	if d == nil {
		return nil
	}
	delete(e.printed, e.turn)
	return e.grow(d)
}

func (e *execution) grow(d *dispatcher.Printed) error {
	item := report.Item{Output: d.Output, Tag: e.p.tagOf(d.Row, d.Index, d.Slot)}
	if d.Over {
		return e.out.GrownOver(item)
	}
	return e.out.Grow(item)
}
