package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"muster/internal/config"
	"muster/internal/fleet"
	"muster/internal/plan"
)

// reopen plans again what a record is about, of which another process knew how it is
// ended: its launcher says, in the config in which that stood.
func reopen(ctx context.Context, r *fleet.Record) (*plan.Plan, error) {
	if r.Config == "" {
		return nil, errors.New("it was in no file that could be read again")
	}
	f, err := config.Load(r.Config, plan.Schema())
	if err != nil {
		return nil, err
	}
	l, err := f.Launcher(r.Launcher)
	if err != nil {
		return nil, err
	}
	e := f.Evaluate(config.Options{Context: ctx, Getenv: os.LookupEnv})
	d, err := plan.New(e, f, l, plan.Wish{Profile: r.Profile, Workers: r.Workers, Dir: cmp.Or(r.Dir, "/"), URL: "tcp://localhost:0"})
	if err != nil {
		return nil, err
	}
	var names []plan.Names
	for range d.Kind.Places() {
		names = append(names, plan.Names{Launch: r.Launch, JoinFile: "-", Output: r.Output, Muster: "muster", Join: "-", Index: r.Index, Of: r.Of})
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("launcher %s starts nothing now", r.Launcher)
	}
	return d.Named(names)
}
