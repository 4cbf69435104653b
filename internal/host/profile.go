package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/plan"
	"muster/internal/self"
	"muster/internal/spool"
	"muster/internal/state"
	"muster/internal/units"
	"muster/rng"
	"muster/task"
	mtls "muster/tls"
)

// Spec is an evaluated profile: all that a dispatcher needs to know of it.
type Spec struct {
	Name    string   `json:"name"`
	Workers int      `json:"workers"`          // to start on this machine
	Listen  string   `json:"listen,omitempty"` // HOST:PORT for workers elsewhere; empty for none until some are launched
	Hosts   []string `json:"hosts,omitempty"`  // names that workers dial; empty for all addresses of this machine
	// Relayed says that the workers of all launchers reach this machine by way of
	// others: it listens for nobody else then, and Listen is for their ports.
	Relayed     bool           `json:"relayed,omitempty"`
	Memory      units.Size     `json:"memory,omitempty"` // bytes of queued tasks
	RoundRobin  bool           `json:"round_robin,omitempty"`
	Tries       int            `json:"tries,omitempty"` // of a task that fails, in all; 0 is once
	LostRetries int            `json:"lost_retries"`
	Delay       units.Duration `json:"delay,omitempty"` // from the start of a task to that of the next
	Seed        rng.Streams    `json:"seed,omitzero"`
	Reattach    units.Duration `json:"reattach,omitempty"` // how long a worker whose connection broke is waited for, unless this host started it here
	Slots       int            `json:"slots"`              // of each worker on this machine
	Walltime    units.Duration `json:"walltime,omitempty"`
	Estimate    units.Duration `json:"estimate,omitempty"`
	Everywhere  []string       `json:"everywhere,omitempty"`
	Dir         string         `json:"dir,omitempty"` // where everywhere begins
	Sync        bool           `json:"sync,omitempty"`
	Ephemeral   bool           `json:"ephemeral,omitempty"`

	ShareLimit units.Size `json:"share_limit,omitempty"` // bytes of what tasks share; 0 is half of what is available
	Spread     bool       `json:"spread,omitempty"`      // copy it to workers that cannot read it

	Options plan.WorkerOptions `json:"options"`
	TLS     *mtls.Settings     `json:"tls,omitempty"` // of a certificate of its own; nil for none
	// Launchers says in a digest what the profile's launchers are asked for when it
	// comes up; who brings it up launches them.
	Launchers string `json:"launchers,omitempty"`
}

// Same reports whether two specs mean the same. A file of the tls block that has been
// renewed makes no difference.
func (s Spec) Same(o *Spec) bool {
	other := *o
	s.TLS, other.TLS = s.TLS.Stable(), other.TLS.Stable()
	a, errA := json.Marshal(s)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// Profile is a pool and the workers that the host started for it.
type Profile struct {
	h    *Host
	Spec Spec
	Pool *dispatcher.Pool
	// Shares are what its tasks read in memory.
	Shares *Shares

	certificate *mtls.Certificate // nil if it has none

	ending context.Context // done when nothing is started for it any more
	stop   context.CancelFunc

	mu      sync.Mutex // guards all below
	over    bool       // ending is done
	locals  map[*Local]bool
	work    sync.WaitGroup // launches under way, and what tells of everywheres
	before  *Profile       // whose pool this one has taken over, with its workers; nil if none
	trouble error          // why the last worker on this machine was given up; nil if none was
}

// noteTrouble notes why a worker on this machine was given up.
func (p *Profile) noteTrouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err
}

// Trouble returns why the last worker on this machine was given up that was, or nil.
func (p *Profile) Trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble
}

// begin counts a launch in, unless the profile is going.
func (p *Profile) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.work.Add(1)
	}
	return !p.over
}

// Up adds a profile and starts its workers on this machine. What was started before a
// failure is taken back.
func (h *Host) Up(ctx context.Context, s Spec) (*Profile, error) {
	certificate, err := h.certificate(s)
	if err != nil {
		return nil, err
	}
	shares := NewShares(s.Name, int64(s.ShareLimit), h.opt.Say)
	pool, err := h.D.NewPool(s.Name, s.pool())
	if err != nil {
		return nil, err
	}
	shares.freed = pool.Unshare
	p := h.newProfile(s, pool, shares, certificate)
	if !h.add(p) {
		pool.Reset(ctx)
		return nil, dispatcher.ErrClosed
	}
	if err := p.start(); err != nil {
		return nil, errors.Join(err, h.Down(context.WithoutCancel(ctx), p))
	}
	return p, nil
}

// pool is what the profile's pool is made with.
func (s *Spec) pool() dispatcher.PoolOptions {
	return dispatcher.PoolOptions{Tries: s.Tries, LostRetries: s.LostRetries, Delay: time.Duration(s.Delay), Memory: int64(s.Memory), RoundRobin: s.RoundRobin, Streams: s.Seed, Spread: s.Spread}
}

// Adopts reports whether a profile of other values can take over the pool of this one,
// as Host.Adopt does.
func (s *Spec) Adopts(o *Spec) bool {
	return s.Name == o.Name && s.pool() == o.pool() && s.ShareLimit == o.ShareLimit && !s.Sync && !o.Sync
}

// Adopt puts a profile in the place of another, whose tasks and workers it takes over.
// After a failure the other one is as it was.
func (h *Host) Adopt(old *Profile, s Spec) (*Profile, error) {
	certificate, err := h.certificate(s)
	if err != nil {
		return nil, err
	}
	p := h.newProfile(s, old.Pool, old.Shares, certificate)
	if !h.add(p) {
		return nil, dispatcher.ErrClosed
	}
	if err := p.start(); err != nil {
		p.letGo()
		p.endWork()
		h.add(old)
		return nil, err
	}
	p.mu.Lock()
	p.before = old
	p.mu.Unlock()
	h.bequeath(old, p)
	return p, nil
}

// bequeath gives one profile's join strings to another.
func (h *Host) bequeath(from, to *Profile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.joins {
		if j.profile == from {
			j.profile = to
		}
	}
}

// certificate loads a profile's own; nil if it has none.
func (h *Host) certificate(s Spec) (*mtls.Certificate, error) {
	if s.TLS == nil {
		return nil, nil
	}
	certificate, err := mtls.LoadCertificate(*s.TLS, h.sayOfFiles(s.Name))
	if err != nil {
		return nil, fmt.Errorf("the tls block of profile %s: %w", s.Name, err)
	}
	return certificate, nil
}

func (h *Host) newProfile(s Spec, pool *dispatcher.Pool, shares *Shares, certificate *mtls.Certificate) *Profile {
	p := &Profile{h: h, Spec: s, Pool: pool, Shares: shares, certificate: certificate, locals: map[*Local]bool{}}
	p.ending, p.stop = context.WithCancel(context.Background())
	return p
}

// sayOfFiles says of a profile what became of its files.
func (h *Host) sayOfFiles(profile string) func(format string, args ...any) {
	return func(format string, args ...any) {
		h.opt.Say("profile %s: %s", profile, fmt.Sprintf(format, args...))
	}
}

// joinBy makes what a worker of the profile needs that dials addrs.
func (p *Profile) joinBy(l *mtls.Launch, addrs []string) mtls.Join {
	j := mtls.Join{Addrs: addrs, Pin: p.h.id.Pin(), Launch: l.ID(), Token: l.Token()}
	if p.certificate != nil {
		j.Authority = p.certificate.Authority(p.Spec.Name)
	}
	return j
}

// add adds a profile unless the host is closing.
func (h *Host) add(p *Profile) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.profiles[p.Spec.Name] = p
		h.id.Show(p.Spec.Name, p.certificate)
	}
	return !h.closed
}

func (p *Profile) start() error {
	for i, text := range p.Spec.Everywhere {
		f, err := p.Pool.Everywhere(task.Spec{Argv: []string{text}, Dir: p.Spec.Dir}, 1)
		if err != nil {
			return err
		}
		if p.begin() {
			go p.tell(f, i+1)
		}
	}
	if p.Spec.Listen != "" && !p.Spec.Relayed {
		if _, err := p.addresses(p.Spec.Listen); err != nil {
			return err
		}
	}
	if err := enoughForLocals(p.Spec.Workers); err != nil {
		return err
	}
	for range p.Spec.Workers {
		if _, err := p.StartLocal(p.Spec.Slots, nil); err != nil {
			return err
		}
	}
	return nil
}

// tell says where a line of the profile's everywhere, from 1, has failed: nobody else
// collects it. The line itself may have a secret.
func (p *Profile) tell(f *dispatcher.Future, line int) {
	defer p.work.Done()
	<-f.Done()
	for i := 0; ; i++ {
		done, _, _ := f.Result(i)
		if done == nil {
			break
		}
		if done.Err != nil && done.Err.Kind.Class() == task.ClassError {
			stderr, _ := done.Output.Tail(spool.Stderr, 1000)
			p.h.opt.Say("line %d of everywhere failed on worker %s: %s\n%s", line, done.Worker, done.Err.Message, bytes.TrimSpace(stderr))
		}
	}
	p.h.D.Forget(f)
}

// Down resets a profile: its workers go, its jobs are taken back, and what is
// unresolved resolves with code 19.
func (h *Host) Down(ctx context.Context, p *Profile) error {
	h.mu.Lock()
	if h.profiles[p.Spec.Name] == p {
		delete(h.profiles, p.Spec.Name)
		h.id.Show(p.Spec.Name, nil)
	}
	for id, j := range h.joins {
		if j.profile == p {
			j.forget()
			delete(h.joins, id)
		}
	}
	h.mu.Unlock()
	p.letGo()
	wait, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	p.Pool.Reset(wait)
	p.end()
	err := h.fleet.Cancel(ctx, p.Spec.Name)
	h.sites.Release() // where nothing is left of it nothing listens any more
	return err
}

// letGo says that nothing more is to be started for the profile, nor in place of
// workers on this machine that go now. Launches under way are given up.
func (p *Profile) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.stop()
	for l := range p.locals {
		l.leaving()
	}
	if p.before != nil {
		p.before.letGo()
	}
}

// end waits, after letGo, until the workers on this machine and all below them
// are gone and no launch is under way, and ends what is shared.
func (p *Profile) end() {
	p.endWork()
	p.Shares.end()
}

// endWork is end without what is shared.
func (p *Profile) endWork() {
	for _, l := range p.workers() {
		<-l.gone
	}
	p.work.Wait()
	if before := p.predecessor(); before != nil {
		before.endWork()
	}
}

func (p *Profile) predecessor() *Profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.before
}

func (p *Profile) workers() []*Local {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*Local
	for l := range p.locals {
		list = append(list, l)
	}
	return list
}

// Locals returns how many workers on this machine the profile has.
func (p *Profile) Locals() int { return len(p.workers()) }

// ProgramFor returns what finds the program for another machine; see
// state.Program.
func ProgramFor(stateDir string) func(system, arch, wanted string) (string, error) {
	return func(system, arch, wanted string) (string, error) {
		exe, err := self.Path()
		if err != nil {
			return "", err
		}
		return state.Program(stateDir, exe, system, arch, wanted, os.Getenv)
	}
}

// Watch asks schedulers how jobs stand until Close. left is called each time
// with how many workers may still come or are there; nil for nobody.
func (h *Host) Watch(left func(n int)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watch != nil || h.closed {
		return
	}
	if left == nil {
		left = func(int) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.watch, h.watched = cancel, make(chan struct{})
	go func() {
		defer close(h.watched)
		h.fleet.Watch(ctx, left)
	}()
}

func (h *Host) stopWatching() {
	h.mu.Lock()
	cancel, watched := h.watch, h.watched
	h.mu.Unlock()
	if cancel != nil {
		cancel()
		<-watched
	}
}

// Listens reports whether somebody listens on a socket.
func Listens(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// RemoveStale removes a socket that nobody listens on.
func RemoveStale(path string) error {
	if Listens(path) {
		return fmt.Errorf("%s is in use", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ValidName reports whether a dispatcher or a run may be called so.
func ValidName(name string) bool {
	return name != "" && len(name) <= 40 && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) < 0
}
