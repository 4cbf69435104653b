package host

import (
	"context"
	"fmt"

	"muster/dispatcher"
	"muster/hpc"
	"muster/internal/fleet"
	"muster/task"
	mtls "muster/tls"
)

// credentials lets the workers of one launch join.
func (h *Host) credentials(ctx context.Context, of fleet.Launch) (fleet.Credentials, error) {
	p := h.Profile(of.Plan.Profile)
	if p == nil {
		return fleet.Credentials{}, fmt.Errorf("profile %s: %w", of.Plan.Profile, dispatcher.ErrClosed)
	}
	addrs, err := p.dial(ctx, of.Place, of.Site)
	if err != nil {
		return fleet.Credentials{}, err
	}
	l := mtls.NewLaunch(of.Name, mtls.Terms{Uses: of.Workers})
	p.Pool.AddLaunch(l, dispatcher.LaunchOptions{
		Lease: p.Spec.Reattach,
		Expected: func() int {
			if n, known := h.fleet.Expected(of.Name); known {
				return n
			}
			return of.Workers // it is being submitted
		},
		Fate: func(ctx context.Context, element string) dispatcher.Fate {
			return fate(h.fleet.Fate(ctx, of.Name, element))
		},
	})
	return fleet.Credentials{Joined: l.Seen, End: func() { p.Pool.RemoveLaunch(l) }, Gone: func(element string) { p.Pool.Gone(l, element) }, Join: func() string {
		return mtls.Join{Addrs: addrs(), Pin: h.id.Pin(), Launch: l.ID(), Token: l.Token()}.Encode()
	}}, nil
}

// fate says what became of a launched worker in the dispatcher's terms.
func fate(f fleet.Fate) dispatcher.Fate {
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
