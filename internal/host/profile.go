package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/launch"
	"muster/internal/remote"
	"muster/internal/spool"
	"muster/internal/state"
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
	Relayed    bool          `json:"relayed,omitempty"`
	Memory     int64         `json:"memory,omitempty"` // bytes of queued tasks
	RoundRobin bool          `json:"round_robin,omitempty"`
	Retries    int           `json:"retries"`
	Reattach   time.Duration `json:"reattach,omitempty"` // how long a worker whose connection broke is waited for, unless this host started it here
	Slots      int           `json:"slots"`              // of each worker on this machine
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
// A login asks its questions at socket, if that is not empty.
func (h *Host) Up(ctx context.Context, s Spec, socket string) (*Profile, error) {
	pool, err := h.D.NewPool(s.Name, dispatcher.PoolOptions{Retries: s.Retries, Memory: s.Memory, RoundRobin: s.RoundRobin})
	if err != nil {
		return nil, err
	}
	p := &Profile{h: h, Spec: s, Pool: pool, locals: map[*Local]bool{}}
	h.mu.Lock()
	h.profiles[s.Name] = p
	h.mu.Unlock()
	if err := p.start(ctx, socket); err != nil {
		return nil, errors.Join(err, h.Down(context.WithoutCancel(ctx), p))
	}
	return p, nil
}

func (p *Profile) start(ctx context.Context, socket string) error {
	for _, text := range p.Spec.Everywhere {
		f, err := p.Pool.Everywhere(task.Spec{Argv: []string{text}, Dir: p.Spec.Dir}, 1)
		if err != nil {
			return err
		}
		go p.tell(f, text)
	}
	if p.Spec.Listen != "" && !p.Spec.Relayed {
		if _, err := p.addresses(p.Spec.Listen); err != nil {
			return err
		}
	}
	for range p.Spec.Workers {
		if _, err := p.StartLocal(p.Spec.Slots, nil); err != nil {
			return err
		}
	}
	_, err := p.Launch(ctx, p.Spec.Plans, socket)
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
	err := h.fleet.Cancel(ctx, p.Spec.Name)
	h.sites.Release() // where nothing is left of it nothing listens any more
	return err
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

// LogIn logs in to the machines that plans need, so that questions are asked
// before anything is started. The links stay until leave is called, and longer if
// something has been started on them.
func (h *Host) LogIn(ctx context.Context, plans []*launch.Plan, socket string) (leave func(), err error) {
	return h.fleet.LogIn(ctx, plans, socket)
}

// LogInTo logs in to one machine, whose link stays as long as the host.
func (h *Host) LogInTo(ctx context.Context, l remote.Login, socket string) (*remote.Site, error) {
	return h.sites.Open(ctx, l, socket)
}

// Launched is what Launch has asked for.
type Launched struct {
	Workers int      `json:"workers"`
	Jobs    []string `json:"jobs"`
}

// Launch hands plans to their schedulers, or starts their workers by SSH, and
// watches over them. A login asks its questions at socket, if that is not empty.
func (p *Profile) Launch(ctx context.Context, plans []*launch.Plan, socket string) (Launched, error) {
	var done Launched
	if len(plans) == 0 {
		return done, nil
	}
	h := p.h
	program, err := ProgramFor(h.opt.StateDir)(runtime.GOOS, runtime.GOARCH, "")
	if err != nil {
		return done, err
	}
	for _, plan := range plans {
		plan.Profile = p.Spec.Name
		if !plan.Relayed() {
			if _, err := p.addresses(p.Spec.Listen); err != nil {
				return done, err
			}
		}
		ids, err := h.fleet.Submit(ctx, plan, program, socket)
		done.Jobs = append(done.Jobs, ids...)
		if err != nil || ctx.Err() != nil {
			return done, errors.Join(err, ctx.Err())
		}
		done.Workers += plan.Workers()
	}
	return done, nil
}

// ProgramFor returns what finds the program for another machine; see
// state.Program.
func ProgramFor(stateDir string) func(system, arch, wanted string) (string, error) {
	return func(system, arch, wanted string) (string, error) {
		exe, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find muster's own path: %w", err)
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

// credentials lets the workers of one launch join.
func (h *Host) credentials(ctx context.Context, plan *launch.Plan, job string, workers int, site *remote.Site) (launch.Credentials, error) {
	p := h.Profile(plan.Profile)
	addrs, err := p.dial(ctx, plan, site)
	if err != nil {
		return launch.Credentials{}, err
	}
	l := mtls.NewLaunch(job, workers, time.Time{})
	p.Pool.AddLaunch(l, p.Spec.Reattach)
	return launch.Credentials{Joined: l.Seen, End: func() { p.Pool.RemoveLaunch(l) }, Gone: func(element string) { p.Pool.Gone(l, element) }, Join: func() string {
		return mtls.Join{Addrs: addrs(), Pin: h.id.Pin(), Launch: l.ID(), Token: l.Token()}.Encode()
	}}, nil
}

// dial returns where the workers of a plan dial: this machine, or the one
// behind SSH, on its loopback for a tunnel and on its network for a relay.
func (p *Profile) dial(ctx context.Context, plan *launch.Plan, site *remote.Site) (func() []string, error) {
	if site == nil || !plan.Relayed() {
		addrs, err := p.addresses(p.Spec.Listen)
		return func() []string { return addrs }, err
	}
	key := portKey{site: site, host: "127.0.0.1"}
	if !plan.Tunnel {
		key.host = ""
		_, number, _ := net.SplitHostPort(p.Spec.Listen)
		key.port, _ = strconv.Atoi(number)
	}
	port, err := p.h.port(ctx, key)
	if err != nil {
		return nil, err
	}
	return func() []string {
		var addrs []string
		for _, a := range port.Addresses() {
			addrs = append(addrs, "tcp:"+a)
		}
		return addrs
	}, nil
}

// portKey tells the ports on other machines apart.
type portKey struct {
	site *remote.Site
	host string
	port int
}

// opening is a port on another machine, or one that is being opened.
type opening struct {
	done chan struct{}
	port *remote.Port
	err  error
}

// port opens a port on another machine, once, and serves those who dial it.
func (h *Host) port(ctx context.Context, key portKey) (*remote.Port, error) {
	h.mu.Lock()
	o := h.ports[key]
	if o != nil {
		h.mu.Unlock()
		select {
		case <-o.done:
			return o.port, o.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	o = &opening{done: make(chan struct{})}
	h.ports[key] = o
	h.mu.Unlock()
	o.port, o.err = key.site.Listen(ctx, key.host, key.port)
	close(o.done)
	if o.err != nil {
		h.mu.Lock()
		delete(h.ports, key)
		h.mu.Unlock()
		return nil, o.err
	}
	go func() {
		h.D.Serve(o.port) // until the port is closed, with its site
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.ports, key)
	}()
	return o.port, nil
}

// addresses opens a port, if it is not open yet, and returns where workers on
// other machines dial. An empty listen is any port of all addresses.
func (p *Profile) addresses(listen string) ([]string, error) {
	h := p.h
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
	hosts := p.Spec.Hosts
	if strings.HasPrefix(listen, "127.") {
		hosts = nil
	}
	for _, c := range Candidates(l.Addr().(*net.TCPAddr), hosts) {
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
// long as the profile. elsewhere asks for addresses that other machines reach,
// and loopback for this machine's alone, to which a tunnel leads.
func (p *Profile) NewJoin(uses int, valid time.Duration, elsewhere, loopback bool) (Join, mtls.Join, error) {
	h := p.h
	addrs := []string{"unix:" + h.socket}
	if elsewhere || loopback {
		listen := p.Spec.Listen
		if loopback {
			_, port, _ := net.SplitHostPort(listen)
			listen = net.JoinHostPort("127.0.0.1", cmp.Or(port, "0"))
			addrs = nil // the other end of a tunnel has no such socket
		}
		more, err := p.addresses(listen)
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
	p.Pool.AddLaunch(l, p.Spec.Reattach)
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
