package fleet

import (
	"context"
	"errors"
	"path"
	"sync"

	"muster/internal/plan"
	"muster/internal/remote"
)

// atOnce is how many machines are logged in to, or given commands, at a time: a jump
// host drops logins at random when more than ten are under way (MaxStartups,
// sshd_config(5)).
const atOnce = 8

// LogIn logs in to the machines that plans need, as far as that has not been done, and
// keeps those links until leave is called. socket is where questions are answered,
// empty if nobody can be asked.
func (f *Fleet) LogIn(ctx context.Context, plans []*plan.Plan, socket string) (leave func(), err error) {
	var list []remote.Login
	for _, p := range plans {
		list = append(list, p.Logins()...)
	}
	o := opened{f: f, ctx: ctx, socket: socket}
	if err := errors.Join(each(list, atOnce, func(l remote.Login) error {
		_, err := o.open(l)
		return err
	})...); err != nil {
		o.leave()
		return func() {}, err
	}
	return o.leave, nil
}

// opened are places that were opened and are left together.
type opened struct {
	f      *Fleet
	ctx    context.Context
	socket string

	mu     sync.Mutex // guards leaves
	leaves []func()
}

func (o *opened) open(l remote.Login) (place, error) {
	at, leave, err := o.f.open(o.ctx, l, o.socket)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaves = append(o.leaves, leave)
	return at, nil
}

func (o *opened) leave() {
	o.mu.Lock()
	leaves := o.leaves
	o.leaves = nil
	o.mu.Unlock()
	for _, leave := range leaves {
		leave()
	}
}

// Names mints the names of a plan, one for each of its places, which it logs in to. The
// links stay until release is called. What workers dial is left to the caller.
func (f *Fleet) Names(ctx context.Context, p *plan.Plan, socket string) (names []plan.Names, release func(), err error) {
	places := p.Kind.Places()
	names = make([]plan.Names, len(places))
	o := &opened{f: f, ctx: ctx, socket: socket}
	err = errors.Join(each(numbers(len(places)), atOnce, func(i int) error {
		word := unique()
		names[i] = plan.Names{Launch: p.Launcher + "-" + word, Unique: word}
		if detached(p) {
			return nil
		}
		at, err := o.open(places[i].Login)
		if err != nil {
			return err
		}
		return f.fill(&names[i], p, at)
	})...)
	if err != nil {
		o.leave()
		return nil, func() {}, err
	}
	return names, o.leave, nil
}

// fill completes the names of workers at a place.
func (f *Fleet) fill(n *plan.Names, p *plan.Plan, at place) error {
	n.JoinFile = at.dir() + "/" + n.Launch + joinEnding
	n.Output = at.dir() + "/" + n.Launch + outputEnding
	if p.Whose == plan.Foreign {
		return nil
	}
	if n.Muster = p.Muster; n.Muster != "" {
		return nil
	}
	var err error
	n.Muster, err = at.program()
	return err
}

// Endings of the files of a launch, which are called after it.
const (
	joinEnding   = ".join"
	outputEnding = ".out"
)

// owns reports whether a launch may be called so and these files, which go with it, are
// its own. Those that it does not have are empty.
func owns(launch, joinFile, output string) bool {
	own := func(file, ending string) bool { return file == "" || path.Base(file) == launch+ending }
	return launch != "" && launch[0] != '.' && path.Base(launch) == launch && own(joinFile, joinEnding) && own(output, outputEnding)
}

// numbers are those from 0 to below n.
func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
