package plan

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"muster/internal/config"
	"muster/internal/shell"
)

// Workers that are started one by one, each with a name, a token and a folder of its
// own, are the places of a plan: all are on this machine as far as muster knows.

// apart are the places of n such workers. sent says that the join string goes out with
// what starts them.
func apart(n int, sent bool) []Place {
	var list []Place
	for range n {
		list = append(list, Place{Sent: sent})
	}
	return list
}

func partsApart(n int) []Part {
	var list []Part
	for i := range n {
		list = append(list, Part{Place: i, Indices: []int{1}})
	}
	return list
}

// wholeApart checks that a plan with names says for each of n workers how it is
// started.
func wholeApart(p *Plan, n, starts int) error {
	if n < 0 || n > MaxWorkers || len(p.Names) > 0 && starts != n {
		return fmt.Errorf("launcher %s: a plan of %d starts for %d workers", p.Launcher, starts, n)
	}
	return nil
}

// count is how many workers are wished.
func (x *drafting) count() int { return cmp.Or(x.w.Workers, max(int(x.w.Times), 0)) }

// beginApart makes the plan of n such workers.
func (x *drafting) beginApart(k Kind, n int, poll time.Duration, slots int, workdir, muster string, names []Names) (*Plan, error) {
	p := x.begin(k, poll, slots, workdir, muster)
	p.Names = names
	return p, x.bounded(n, 1)
}

// apart evaluates all settings for the i-th such worker of n and returns it. join says
// how it gets its join string. command is where the settings have the worker_command: if
// there is one, the others see it in the place of muster's own.
func (x *drafting) apart(p *Plan, i, n int, join string, settings any, command *string) (config.Worker, error) {
	w := p.seen(i, join, own(p.Names[i].Launch, 1)...)
	w.Index, w.Count = p.which(i, n)
	return w, x.fillBehind(settings, &w, command)
}

// which is the i-th worker's index, and how many there are of n.
func (p *Plan) which(i, n int) (index string, of int) {
	return strconv.Itoa(cmp.Or(p.Names[i].Index, i+1)), cmp.Or(p.Names[i].Of, n)
}

// fillBehind evaluates all settings for a worker, and the others once more with the
// worker_command in the place of its command.
func (x *drafting) fillBehind(settings any, w *config.Worker, command *string) error {
	if err := x.fill(settings, *w); err != nil || !x.l.Has("worker_command") {
		return err
	}
	w.Command = *command
	w.Argv = []string{"/bin/sh", "-c", w.Command}
	return x.fill(settings, *w)
}

// seen is what settings see of muster's worker with the i-th names of a plan.
func (p *Plan) seen(i int, join string, options ...string) config.Worker {
	n := p.Names[i]
	w := config.Worker{URL: n.URL, Name: cmp.Or(n.Launch, p.Launcher+"-"+cmp.Or(n.Unique, "NAME")), Join: n.Join}
	switch join {
	case "file":
		w.JoinFile = n.JoinFile
		w.Argv = p.Worker.Argv(n.Muster, n.JoinFile, options...)
		w.Command = shell.Join(w.Argv)
	case "env":
		w.Argv = p.Worker.Argv(n.Muster, "", options...)
		w.Command = shell.Join(w.Argv)
	default:
		words := p.Worker.Argv(n.Muster, "", options...)
		w.Argv = append([]string{"env", JoinVariable + "=" + n.Join}, words...)
		w.Command = JoinVariable + "=" + shell.Quote(n.Join) + " exec " + shell.Join(words)
	}
	return w
}

// JoinVariable is the variable of the environment from which a worker takes its join
// string.
const JoinVariable = "MUSTER_JOIN"
