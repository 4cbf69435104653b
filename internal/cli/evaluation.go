package cli

import (
	"context"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/disposition"
	"muster/internal/plan"
)

// evaluation evaluates a config's expressions for one command. A program of exec()
// may take its time: Ctrl-C ends it, in during.
type evaluation struct {
	*config.Evaluation
	f      *config.File
	ctx    context.Context
	cancel context.CancelFunc
	say    func(format string, args ...any)
}

// evaluate begins to evaluate a config. exec says whether programs of exec() are run;
// redact hides what may be secret.
func evaluate(c *cli.Context, s streams, f *config.File, exec config.ExecPolicy, redact bool) *evaluation {
	e := &evaluation{f: f, say: s.err.Say}
	e.ctx, e.cancel = context.WithCancel(c.Context)
	e.Evaluation = f.Evaluate(config.Options{Context: e.ctx, Getenv: os.LookupEnv, Exec: exec, Redact: redact, Stderr: s.err.Lines()})
	return e
}

// during does what evaluates. A signal ends that, and then the command.
func (e *evaluation) during(do func() error) error {
	ctx, stop := disposition.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	defer context.AfterFunc(ctx, e.cancel)()
	defer tellWaits(ctx, e.say, doing("evaluating %s: a program of exec() has not ended yet; Ctrl-C ends it", e.f.Path))()
	if err := do(); ctx.Err() == nil {
		return err
	}
	return exitError(exitInterrupted)
}

// named mints the names of drafts, all of them before a setting is evaluated that
// speaks of one, and returns the plans.
func named(drafts []*plan.Draft, mint func(*plan.Plan) ([]plan.Names, error)) ([]*plan.Plan, error) {
	var all [][]plan.Names
	for _, d := range drafts {
		names, err := mint(d.Plan)
		if err != nil {
			return nil, err
		}
		all = append(all, names)
	}
	var plans []*plan.Plan
	for i, d := range drafts {
		p, err := d.Named(all[i])
		if err != nil {
			return nil, usageError{err}
		}
		plans = append(plans, p)
	}
	return plans, nil
}
