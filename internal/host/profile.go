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
	"muster/internal/launch"
	"muster/internal/spool"
	"muster/internal/state"
	"muster/task"
	mtls "muster/tls"
)

// Spec is an evaluated profile: all that a dispatcher needs to know of it.
type Spec struct {
	Name       string        `json:"name"`
	Workers    int           `json:"workers"`          // to start on this machine
	Listen     string        `json:"listen,omitempty"` // HOST:PORT for workers elsewhere; empty for none until some are launched
	Hosts      []string      `json:"hosts,omitempty"`  // names that workers dial; empty for all addresses of this machine
	Memory     int64         `json:"memory,omitempty"` // bytes of queued tasks
	RoundRobin bool          `json:"round_robin,omitempty"`
	Retries    int           `json:"retries"`
	Slots      int           `json:"slots"` // of each worker on this machine
	Walltime   time.Duration `json:"walltime,omitempty"`
	Estimate   time.Duration `json:"estimate,omitempty"`
	Everywhere []string      `json:"everywhere,omitempty"`
	Dir        string        `json:"dir,omitempty"` // where everywhere begins
	Sync       bool          `json:"sync,omitempty"`
	Ephemeral  bool          `json:"ephemeral,omitempty"`

	Options launch.WorkerOptions `json:"options"`
	Plans   []*launch.Plan       `json:"plans,omitempty"`
}

// Same reports whether two specs mean the same.
func (s *Spec) Same(o *Spec) bool {
	a, errA := json.Marshal(s)
	b, errB := json.Marshal(o)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// Profile is a pool and the workers that the host started for it.
type Profile struct {
	h    *Host
	Spec Spec
	Pool *dispatcher.Pool

	mu     sync.Mutex // guards all below
	locals map[*Local]bool
}

// Up adds a profile, starts its workers and hands its jobs to schedulers. What
// was started before a failure is taken back.
func (h *Host) Up(ctx context.Context, s Spec) (*Profile, error) {
	pool, err := h.D.NewPool(s.Name, dispatcher.PoolOptions{Retries: s.Retries, Memory: s.Memory, RoundRobin: s.RoundRobin})
	if err != nil {
		return nil, err
	}
	p := &Profile{h: h, Spec: s, Pool: pool, locals: map[*Local]bool{}}
	h.mu.Lock()
	h.profiles[s.Name] = p
	h.mu.Unlock()
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, h.Down(context.WithoutCancel(ctx), p))
	}
	return p, nil
}

func (p *Profile) start(ctx context.Context) error {
	for _, text := range p.Spec.Everywhere {
		f, err := p.Pool.Everywhere(task.Spec{Argv: []string{text}, Dir: p.Spec.Dir}, 1)
		if err != nil {
			return err
		}
		go p.tell(f, text)
	}
	if p.Spec.Listen != "" {
		if _, err := p.addresses(); err != nil {
			return err
		}
	}
	for range p.Spec.Workers {
		if _, err := p.StartLocal(p.Spec.Slots, nil); err != nil {
			return err
		}
	}
	_, err := p.Launch(ctx, p.Spec.Plans)
	return err
}

// tell says where an everywhere of the profile's own has failed: nobody else
// collects it.
func (p *Profile) tell(f *dispatcher.Future, text string) {
	<-f.Done()
	for i := 0; ; i++ {
		done, _, _ := f.Result(i)
		if done == nil {
			break
		}
		if done.Err != nil && done.Err.Kind.Class() == task.ClassError {
			stderr, _ := done.Output.Tail(spool.Stderr, 1000)
			p.h.opt.Say("everywhere %q failed on worker %s: %s\n%s", text, done.Worker, done.Err.Message, bytes.TrimSpace(stderr))
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
	for _, l := range p.workers() {
		l.end()
	}
	return h.fleet.Cancel(ctx, p.Spec.Name)
}

// letGo says that workers on this machine which go now are not to be replaced.
func (p *Profile) letGo() {
	for _, l := range p.workers() {
		l.leaving()
	}
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

// Launched is what Launch has asked for.
type Launched struct {
	Workers int      `json:"workers"`
	Jobs    []string `json:"jobs"`
}

// unasked is the largest array index that every scheduler takes by default;
// only beyond it is one asked for its limit.
const unasked = 1000

// Launch hands plans to their schedulers, and watches over the jobs.
func (p *Profile) Launch(ctx context.Context, plans []*launch.Plan) (Launched, error) {
	var done Launched
	if len(plans) == 0 {
		return done, nil
	}
	h := p.h
	if _, err := p.addresses(); err != nil {
		return done, err
	}
	program, err := h.program()
	if err != nil {
		return done, err
	}
	before := len(h.fleet.Jobs())
	for _, plan := range plans {
		plan.Profile = p.Spec.Name
		if plan.Largest() > unasked {
			plan.Limit(plan.Client(h.fleet.Run, h.fleet.User).Limit(ctx))
		}
		err := h.fleet.Submit(ctx, plan, program)
		done.Jobs = h.fleet.Jobs()[before:]
		if err != nil || ctx.Err() != nil {
			return done, errors.Join(err, ctx.Err())
		}
		done.Workers += plan.Workers()
	}
	return done, nil
}

func (h *Host) program() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find muster's own path: %w", err)
	}
	return state.Binary(h.opt.StateDir, exe)
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

// credentials lets the workers of one job join.
func (h *Host) credentials(plan *launch.Plan, job string, workers int) (string, func(string) bool) {
	p := h.Profile(plan.Profile)
	l := mtls.NewLaunch(job, workers, time.Time{})
	p.Pool.AddLaunch(l, 0)
	addrs, _ := p.addresses() // Launch has seen that there are some
	return mtls.Join{Addrs: addrs, Pin: h.id.Pin(), Launch: l.ID(), Token: l.Token()}.Encode(), l.Seen
}

// addresses opens the profile's port, if it is not open yet, and returns where
// workers on other machines dial.
func (p *Profile) addresses() ([]string, error) {
	h := p.h
	listen := p.Spec.Listen
	if listen == "" {
		listen = ":0"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.tcp[listen]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", listen); err != nil {
			return nil, fmt.Errorf("listen for workers: %w", err)
		}
		h.tcp[listen] = l
		go h.D.Serve(l)
	}
	var addrs []string
	for _, c := range Candidates(l.Addr().(*net.TCPAddr), p.Spec.Hosts) {
		addrs = append(addrs, "tcp:"+c.Address)
	}
	return addrs, nil
}

// Candidate is an address under which a listener may be reached.
type Candidate struct {
	Interface string `json:"interface"` // or what the name comes from: hostname, url
	Address   string `json:"address"`   // HOST:PORT
	URL       string `json:"url"`
}

// Candidates lists the addresses of a listener: those of hosts if there are
// any, else of each interface.
func Candidates(a *net.TCPAddr, hosts []string) []Candidate {
	var list []Candidate
	add := func(name, host string) {
		address := net.JoinHostPort(host, fmt.Sprint(a.Port))
		list = append(list, Candidate{name, address, "tls+tcp://" + address})
	}
	for _, host := range hosts {
		add("url", host)
	}
	if len(hosts) > 0 {
		return list
	}
	if !a.IP.IsUnspecified() {
		add("listen", a.IP.String())
		return list
	}
	if host, err := os.Hostname(); err == nil {
		add("hostname", host)
	}
	ifaces, _ := net.Interfaces()
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		for _, ia := range addrs {
			if n, ok := ia.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				add(i.Name, n.IP.String())
			}
		}
	}
	return list
}

// URLs returns where workers may dial: on this machine, and elsewhere if a
// port is open.
func (h *Host) URLs() []Candidate {
	list := []Candidate{{"local", h.socket, "unix://" + h.socket}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for listen, l := range h.tcp {
		var hosts []string
		for _, p := range h.profiles {
			if p.Spec.Listen == listen {
				hosts = append(hosts, p.Spec.Hosts...)
			}
		}
		list = append(list, Candidates(l.Addr().(*net.TCPAddr), hosts)...)
	}
	return list
}

// joinRecord is a token that a person has been given.
type joinRecord struct {
	Join
	launch  *mtls.Launch
	profile *Profile
}

// Join says what a join string lets in.
type Join struct {
	ID      string    `json:"id"`
	Profile string    `json:"profile"`
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
	Until   time.Time `json:"until"` // zero for as long as the profile
}

// NewJoin makes a join string that admits so many workers for so long; 0 is as
// long as the profile. elsewhere asks for addresses that other machines reach.
func (p *Profile) NewJoin(uses int, valid time.Duration, elsewhere bool) (Join, mtls.Join, error) {
	h := p.h
	addrs := []string{"unix:" + h.socket}
	if elsewhere {
		more, err := p.addresses()
		if err != nil {
			return Join{}, mtls.Join{}, err
		}
		addrs = append(addrs, more...)
	}
	var until time.Time
	if valid > 0 {
		until = time.Now().Add(valid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := fmt.Sprintf("join-%d", len(h.joins)+1)
	for n := len(h.joins) + 1; h.joins[id] != nil; n++ {
		id = fmt.Sprintf("join-%d", n)
	}
	l := mtls.NewLaunch(h.Run.ID+"-"+id, uses, until)
	p.Pool.AddLaunch(l, 0)
	h.joins[id] = &joinRecord{Join: Join{ID: id, Profile: p.Spec.Name, Uses: uses, Until: until}, launch: l, profile: p}
	return h.joins[id].Join, mtls.Join{Addrs: addrs, Pin: h.id.Pin(), Launch: l.ID(), Token: l.Token()}, nil
}

// Joins lists the join strings that may still admit somebody.
func (h *Host) Joins() []Join {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []Join{}
	for _, j := range h.joins {
		j.Used = j.launch.Used()
		if j.Until.IsZero() || time.Now().Before(j.Until) {
			list = append(list, j.Join)
		}
	}
	return list
}

// RevokeJoin lets nobody in any more with a join string; workers that it let
// in stay. It reports whether there was one.
func (h *Host) RevokeJoin(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.joins[id]
	if j == nil {
		return false
	}
	j.forget()
	delete(h.joins, id)
	return true
}

func (j *joinRecord) forget() { j.profile.Pool.RemoveLaunch(j.launch) }

// RemoveStale removes a socket that nobody listens on.
func RemoveStale(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
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
