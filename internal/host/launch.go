package host

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/fleet"
	"muster/internal/plan"
	"muster/internal/remote"
)

// mintedFor is how long names that were minted may wait for their launch: whoever
// evaluates a config may ask a person for a code.
const mintedFor = 10 * time.Minute

// minted keeps the links of names that wait for their launch.
type minted struct {
	release func()
	over    *time.Timer
}

// Names mints the names of a plan: it logs in to the plan's machines, where questions
// are answered at socket if that is not empty, and opens the ports that workers dial.
// The links stay until the plan is launched with these names, for some minutes.
func (p *Profile) Names(ctx context.Context, pl *plan.Plan, socket string) ([]plan.Names, error) {
	if !p.begin() {
		return nil, dispatcher.ErrClosed
	}
	defer p.work.Done()
	ctx, cancel := p.untilEnding(ctx)
	defer cancel()
	names, release, err := p.h.fleet.Names(ctx, pl, socket)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	for i, place := range pl.Kind.Places() {
		if pl.Whose == plan.Foreign {
			break
		}
		err := p.whereTo(ctx, &names[i], place, socket)
		if err == nil && place.Sent {
			names[i].Join, err = p.send(ctx, pl, i, names[i].Launch)
		}
		if err != nil {
			p.h.unclaimed(names)
			release()
			return nil, err
		}
	}
	p.h.keep(names, sync.OnceFunc(func() {
		p.h.unclaimed(names)
		release()
	}))
	return names, nil
}

// whereTo adds to names where their workers dial.
func (p *Profile) whereTo(ctx context.Context, n *plan.Names, place plan.Place, socket string) error {
	var site *remote.Site
	if !place.Here() {
		var err error
		if site, err = p.h.sites.Open(ctx, place.Login, socket); err != nil {
			return err
		}
		defer p.h.sites.Leave(site)
	}
	addrs, err := p.dial(ctx, place, site)
	if err != nil {
		return err
	}
	for _, a := range addrs() {
		address := strings.TrimPrefix(a, "tcp:")
		n.URL = "tls+tcp://" + address
		n.Port = address[strings.LastIndexByte(address, ':')+1:]
		break
	}
	return nil
}

// keep keeps minted links until the launch of the names, or until nobody comes for them.
func (h *Host) keep(names []plan.Names, release func()) {
	h.mu.Lock()
	kept := !h.closed && len(names) > 0
	if kept {
		name := names[0].Launch
		h.minted[name] = &minted{release, time.AfterFunc(mintedFor, func() {
			h.mu.Lock()
			delete(h.minted, name)
			h.mu.Unlock()
			release()
		})}
	}
	h.mu.Unlock()
	if !kept {
		release()
	}
}

// take returns what lets the links of minted names go.
func (h *Host) take(pl *plan.Plan) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(pl.Names) == 0 {
		return func() {}
	}
	m := h.minted[pl.Names[0].Launch]
	if m == nil {
		return func() {}
	}
	delete(h.minted, pl.Names[0].Launch)
	m.over.Stop()
	return m.release
}

// untilEnding returns a context that ends with the profile too.
func (p *Profile) untilEnding(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.ending, func() { cancel(dispatcher.ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// LogInTo logs in to one machine, whose link stays as long as the host.
func (h *Host) LogInTo(ctx context.Context, l remote.Login, socket string) (*remote.Site, error) {
	return h.sites.Open(ctx, l, socket)
}

// Launched is what Launch has asked for.
type Launched struct {
	Workers int      `json:"workers"`
	Jobs    []string `json:"jobs"`
	Answers []Answer `json:"answers,omitempty"` // of services
	Notes   []string `json:"notes,omitempty"`   // what the user is to know of them
}

// Answer is what a service has answered to a request that starts a worker.
type Answer struct {
	Launcher  string              `json:"launcher"`
	ID        string              `json:"id"` // what the service calls what it has started, or its launch's name
	Status    int                 `json:"status"`
	Headers   map[string][]string `json:"headers"`
	Body      string              `json:"body"` // without what the request had that is secret
	Truncated bool                `json:"truncated,omitempty"`
}

// Add adds what was submitted of a plan.
func (l *Launched) Add(pl *plan.Plan, list []fleet.Submitted) {
	for _, one := range list {
		l.Workers += one.Workers
		l.Jobs = append(l.Jobs, one.ID)
		if one.Note != "" {
			l.Notes = append(l.Notes, one.Note)
		}
		if a := one.Answer; a.Status != 0 {
			l.Answers = append(l.Answers, Answer{pl.Launcher, one.ID, a.Status, a.Headers, a.Body, a.Truncated})
		}
	}
}

// Launch carries out plans whose names have been minted, and watches over them. A
// login asks its questions at socket, if that is not empty.
func (p *Profile) Launch(ctx context.Context, plans []*plan.Plan, socket string) (Launched, error) {
	var done Launched
	if len(plans) == 0 {
		return done, nil
	}
	for _, pl := range plans {
		defer p.h.take(pl)()
	}
	if !p.begin() {
		return done, dispatcher.ErrClosed
	}
	defer p.work.Done()
	ctx, cancel := p.untilEnding(ctx)
	defer cancel()
	for _, pl := range plans {
		pl.Profile = p.Spec.Name
		list, err := p.h.fleet.Submit(ctx, pl, socket)
		done.Add(pl, list)
		if err != nil || ctx.Err() != nil {
			return done, errors.Join(err, context.Cause(ctx))
		}
	}
	return done, nil
}
