package host

import (
	"context"
	"fmt"
	"time"

	"muster/dispatcher"
	"muster/hpc"
	"muster/internal/launch"
	"muster/internal/remote"
	"muster/task"
	mtls "muster/tls"
)

// credentials lets the workers of one launch join.
func (h *Host) credentials(ctx context.Context, plan *launch.Plan, job string, workers int, site *remote.Site) (launch.Credentials, error) {
	p := h.Profile(plan.Profile)
	if p == nil {
		return launch.Credentials{}, fmt.Errorf("profile %s: %w", plan.Profile, dispatcher.ErrClosed)
	}
	addrs, err := p.dial(ctx, plan, site)
	if err != nil {
		return launch.Credentials{}, err
	}
	l := mtls.NewLaunch(job, workers, time.Time{})
	p.Pool.AddLaunch(l, dispatcher.LaunchOptions{
		Lease: p.Spec.Reattach,
		Expected: func() int {
			if n, known := h.fleet.Expected(job); known {
				return n
			}
			return workers // it is being submitted
		},
		Fate: func(ctx context.Context, element string) dispatcher.Fate {
			return fate(h.fleet.Fate(ctx, job, element))
		},
	})
	return launch.Credentials{Joined: l.Seen, End: func() { p.Pool.RemoveLaunch(l) }, Gone: func(element string) { p.Pool.Gone(l, element) }, Join: func() string {
		return mtls.Join{Addrs: addrs(), Pin: h.id.Pin(), Launch: l.ID(), Token: l.Token()}.Encode()
	}}, nil
}

// fate says what became of a launched worker in the dispatcher's terms.
func fate(f launch.Fate) dispatcher.Fate {
	if f.Text == "" {
		return dispatcher.Fate{}
	}
	kind := task.KindReset
	switch f.End {
	case hpc.EndPreempted:
		kind = task.KindPreempted
	case hpc.EndWalltime:
		kind = task.KindWalltime
	case hpc.EndMemory:
		kind = task.KindOOM
	}
	return dispatcher.Fate{Kind: kind, Text: f.Text}
}
