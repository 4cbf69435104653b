package host

import (
	"context"
	"fmt"
	"time"

	"muster/dispatcher"
	"muster/hpc"
	"muster/internal/fleet"
	"muster/internal/plan"
	"muster/task"
	mtls "muster/tls"
)

// credentials lets the workers of one launch join. Those of a launch whose join string is
// sent were made with its names.
func (h *Host) credentials(ctx context.Context, of fleet.Launch) (fleet.Credentials, error) {
	if of.Place.Sent {
		return h.claim(of.Name)
	}
	return h.newCredentials(ctx, of)
}

func (h *Host) newCredentials(ctx context.Context, of fleet.Launch) (fleet.Credentials, error) {
	p := h.Profile(of.Plan.Profile)
	if p == nil {
		return fleet.Credentials{}, fmt.Errorf("profile %s: %w", of.Plan.Profile, dispatcher.ErrClosed)
	}
	addrs, err := p.dial(ctx, of.Place, of.Site)
	if err != nil {
		return fleet.Credentials{}, err
	}
	l := mtls.NewLaunch(of.Name, mtls.Terms{Uses: of.Workers, Once: of.Place.Sent})
	p.Pool.AddLaunch(l, dispatcher.LaunchOptions{
		Lease: time.Duration(p.Spec.Reattach),
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
	return fleet.Credentials{Joined: l.Seen, Here: l.Live, End: func() { p.Pool.RemoveLaunch(l) }, Gone: func(element string) { p.Pool.Gone(l, element) }, Join: func() string {
		return p.joinBy(l, addrs()).Encode()
	}}, nil
}

// send makes the credentials of a place's workers whose join string is sent, before
// anything is asked for.
func (p *Profile) send(ctx context.Context, pl *plan.Plan, i int, name string) (join string, err error) {
	workers := 0
	for _, part := range pl.Kind.Parts() {
		if part.Place == i {
			workers += len(part.Indices)
		}
	}
	of := *pl
	of.Profile = p.Spec.Name
	c, err := p.h.newCredentials(ctx, fleet.Launch{Plan: &of, Name: name, Workers: workers, Place: pl.Kind.Places()[i]})
	if err != nil {
		return "", err
	}
	p.h.mu.Lock()
	p.h.sent[name] = c
	p.h.mu.Unlock()
	return c.Join(), nil
}

// claim returns the credentials that were made with the names of a launch, once.
func (h *Host) claim(name string) (fleet.Credentials, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, is := h.sent[name]
	if !is {
		return c, fmt.Errorf("the names of %s were minted for one launch, some minutes ago", name)
	}
	delete(h.sent, name)
	return c, nil
}

// unclaimed ends the credentials that were made with names and that no launch has
// claimed.
func (h *Host) unclaimed(names []plan.Names) {
	for _, n := range names {
		if c, err := h.claim(n.Launch); err == nil {
			c.End()
		}
	}
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
