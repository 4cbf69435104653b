package hpc

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// probe is a command that tells whether a scheduler would take a job and run it.
type probe struct {
	asks  string // what about
	argv  []string
	stdin string
	read  func(Output) ([]*FieldError, error)
	not   string        // why it cannot be asked
	found []*FieldError // what is known without asking
}

// checkTime bounds a check.
const checkTime = 10 * time.Second

// Check asks the scheduler what can be asked about j without submitting it, and
// returns what it would refuse or let wait for ever, and what could not be asked
// and why. All is asked side by side, within ctx and 10 s.
func (c *Client) Check(ctx context.Context, j Job) (problems []*FieldError, unasked []string) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	j, err := c.Dialect.effective(j)
	if err != nil {
		return FieldErrors(err), nil
	}
	probes := append(c.Dialect.probes(c, &j), c.arrayProbe(&j)...)
	found, reasons := make([][]*FieldError, len(probes)), make([]string, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() { found[i], reasons[i] = c.probe(ctx, p) })
	}
	all.Wait()
	for i, p := range probes {
		problems = append(problems, found[i]...)
		if reasons[i] != "" {
			unasked = append(unasked, p.asks+": "+reasons[i])
		}
	}
	return settle(problems, &j), unasked
}

// arrayProbe asks how large an array may be.
func (c *Client) arrayProbe(j *Job) []probe {
	if j.Array == nil {
		return nil
	}
	return []probe{{asks: "array", argv: c.Dialect.limits, read: func(o Output) ([]*FieldError, error) {
		if o.Code != 0 {
			return nil, o.failed()
		}
		if !strings.Contains(string(o.Stdout), c.Dialect.limited) {
			return nil, o.strange()
		}
		if limit := c.Dialect.limit(string(o.Stdout)); limit > 0 && j.Array.Last() > limit {
			return []*FieldError{mistake("array", "with -n muster splits arrays by itself", "its largest index is %d, and this scheduler takes %d at most", j.Array.Last(), limit)}, nil
		}
		return nil, nil
	}}}
}

// probe runs p, and says why there is no answer.
func (c *Client) probe(ctx context.Context, p probe) ([]*FieldError, string) {
	if p.argv == nil {
		return p.found, p.not
	}
	began := time.Now()
	o, err := c.Run(ctx, p.argv, p.stdin)
	var missing *exec.Error
	switch {
	case ctx.Err() != nil:
		text := fmt.Sprintf("%s did not answer within %v", p.argv[0], max(time.Since(began).Round(time.Second), time.Second))
		if len(o.Stderr) > 0 {
			text += ", and said: " + o.said()
		}
		return nil, text
	case errors.As(err, &missing), err == nil && o.Code == 127:
		return nil, p.argv[0] + " is not on PATH here"
	case err != nil:
		return nil, err.Error()
	}
	found, err := p.read(o)
	if err != nil {
		return nil, err.Error()
	}
	return found, ""
}

// settle keeps one problem of each setting, the last that was asked about since
// it says more than a refusal. What the scheduler did not put down to a setting is
// left out where there is anything else, and otherwise put down to one that the
// job has.
func settle(problems []*FieldError, j *Job) []*FieldError {
	var list []*FieldError
	var vague *FieldError
	for _, e := range problems {
		i := slices.IndexFunc(list, func(l *FieldError) bool { return l.Field == e.Field })
		switch {
		case e.Field == "":
			vague = e
		case i >= 0:
			list[i] = e
		default:
			list = append(list, e)
		}
	}
	if len(list) > 0 || vague == nil {
		return list
	}
	switch {
	case j.Options != "":
		vague.Field = "options"
	case j.Memory > 0:
		vague.Field = "memory"
	case j.GPUs > 0:
		vague.Field = "gpus"
	case j.CPUs > 0:
		vague.Field = "cpus"
	case j.Walltime > 0:
		vague.Field = "walltime"
	default:
		vague.Field = "queue"
	}
	return []*FieldError{vague}
}

// effective returns j with what its options set in place of its settings, and
// without what they set in a way that is not read here.
func (d *Dialect) effective(j Job) (Job, error) {
	j, lines, err := d.normal(j)
	for _, l := range lines {
		for _, o := range l.options {
			for _, s := range o.sets {
				switch s.role {
				case setsQueue:
					j.Queue = o.value
				case setsAccount:
					j.Account = o.value
				case setsCPUs:
					j.CPUs = 0
				case setsMemory:
					j.Memory = 0
				case setsGPUs:
					j.GPUs = 0
				case setsTime:
					j.Walltime = 0
				}
			}
		}
	}
	return j, err
}

// trial is j as the scheduler is asked about it: a job that does nothing, with one
// element, since muster parts an array that is too large. option has the command
// that submits only try it. That must be the scheduler's own, since another may
// not know the option.
func (c *Client) trial(j *Job, asks string, option []string, read func(Output) ([]*FieldError, error)) probe {
	p := probe{asks: asks, read: read}
	if argv := c.SubmitCommand(); path.Base(argv[0]) != c.Dialect.Submit {
		p.not = fmt.Sprintf("%s may submit it, where %s would only try it", argv[0], c.Dialect.Submit)
		return p
	}
	one := *j
	one.Body = "true"
	if a := j.Array; a != nil && len(a.Spans) > 0 {
		first := a.Spans[0].First
		one.Array = &Array{Spans: []Span{{first, first, 1}}}
	}
	cmd, err := c.Dialect.Render(one, c.Command)
	if err != nil {
		p.found = FieldErrors(err)
		return p
	}
	p.argv, p.stdin = append(cmd.Argv, option...), cmd.Stdin
	return p
}

// complaint is what a refusal says, in lower case, and the setting that it is
// about, if it says so much.
type complaint struct{ said, field string }

// complained reads a refusal. What is none of the complaints is a failure to ask.
func complained(o Output, list []complaint) ([]*FieldError, error) {
	said := strings.ToLower(string(o.Stderr) + string(o.Stdout))
	i := slices.IndexFunc(list, func(c complaint) bool { return strings.Contains(said, c.said) })
	if i < 0 {
		return nil, o.failed()
	}
	return []*FieldError{{Field: list[i].field, Msg: "the scheduler says: " + o.said()}}, nil
}

// unknown is the problem of a name that is not among those that there are.
func unknown(field, what, name string, there []string) *FieldError {
	hint := ""
	if len(there) > 0 {
		slices.Sort(there)
		hint = "there are " + short(strings.Join(slices.Compact(there), ", "))
	}
	return mistake(field, hint, "this cluster has no %s %q", what, name)
}
