// Package remote keeps muster's hand on another machine: it logs in, puts
// muster there, runs the relay over that one session, and does so again when
// the link is lost, as long as there is work for it.
//
//	Sites ─ Site ─ ssh.Client ══ relay.Conn ══ muster relay there
//	          │                       │
//	          ├─ Run, Start, files ───┤    what schedulers and workers need
//	          └─ Port ────────────────┘    a TCP port there whose connections come out here
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/prompt"
	mssh "muster/ssh"
	"muster/ssh/relay"
)

// Options configures Sites.
type Options struct {
	// Run is the name of the folder there in which everything is kept that goes
	// with the Sites.
	Run string
	// Program returns the path of the muster that runs on a system and
	// architecture, in Go's words; wanted is one that the user has named.
	Program func(os, arch, wanted string) (string, error)
	// Build is muster's version.
	Build string
	// SocketDir is a short folder of mode 0700.
	SocketDir string
	// Askpass makes environment for OpenSSH's client of the path of the socket
	// where questions are answered.
	Askpass func(socket string) []string
	// Spawn starts processes of OpenSSH's client; see ssh.Options.
	Spawn func(*exec.Cmd) (ended func(), err error)
	Log   hclog.Logger
	// Say tells the user something that matters now.
	Say func(format string, args ...any)
	// Step, if not nil, is told what has been found on the way to a machine.
	Step func(what, found string)
}

// Sites are the machines that one dispatcher, or one command, works on. A login
// is done once, however many launchers name it.
type Sites struct {
	o Options

	mu     sync.Mutex // guards all below
	sites  map[string]*Site
	closed bool
}

// New returns Sites without a site. Close ends them.
func New(o Options) *Sites { return &Sites{o: o, sites: map[string]*Site{}} }

// ErrClosed says that a site, or all, have been closed.
var ErrClosed = errors.New("the link has been closed")

// Open returns the site of a login, logging in if that has not been done. socket
// is where questions are answered, empty if nobody can be asked.
func (s *Sites) Open(ctx context.Context, l Login, socket string) (*Site, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	site := s.sites[l.key()]
	if site == nil {
		site = newSite(s.o, l)
		s.sites[l.key()] = site
	}
	s.mu.Unlock()
	return site, site.open(ctx, socket)
}

// Release ends the links that nothing needs: those that needed says no of, or of
// which no use has been made if that is nil.
func (s *Sites) Release(ctx context.Context, needed func(*Site) bool) {
	s.mu.Lock()
	var idle []*Site
	for key, site := range s.sites {
		if needed == nil && site.idle() || needed != nil && !site.idle() && !needed(site) {
			idle = append(idle, site)
			delete(s.sites, key)
		}
	}
	s.mu.Unlock()
	for _, site := range idle {
		site.close(ctx, false)
	}
}

func (s *Site) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.used && len(s.ports) == 0
}

// Close ends all links. What was kept for the run on machines that can be
// reached is removed there, unless keep says of a site that something is left.
func (s *Sites) Close(ctx context.Context, keep func(*Site) bool) {
	s.mu.Lock()
	s.closed = true
	sites := s.sites
	s.sites = map[string]*Site{}
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, site := range sites {
		ending.Go(func() { site.close(ctx, keep != nil && keep(site)) })
	}
	ending.Wait()
}

// Site is one machine.
type Site struct {
	o     Options
	login Login
	log   hclog.Logger

	opening sync.Mutex // held while a link is made, by whoever makes it
	ctx     context.Context
	stop    context.CancelFunc
	keeper  sync.WaitGroup

	mu      sync.Mutex // guards all below
	link    *link      // the current one, or nil
	changed chan struct{}
	gone    error // why there will be no other link by itself
	ports   []*Port
	asker   *memory
	hello   relay.Hello // of the last link
	program string
	state   string
	used    bool // there may be something of the run's there
	renewed []func(context.Context)
}

// link is one login and the relay over it.
type link struct {
	client *mssh.Client
	conn   *relay.Conn
}

func (l *link) close() {
	l.conn.Close()
	l.client.Close()
}

func newSite(o Options, l Login) *Site {
	s := &Site{o: o, login: l, log: o.Log.Named("remote"), changed: make(chan struct{}), asker: &memory{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// open makes the first link, or another after the site was given up.
func (s *Site) open(ctx context.Context, socket string) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.asker.from(socket)
	s.mu.Lock()
	there := s.link != nil || s.hello.Build != "" && s.gone == nil // or about to be again
	s.mu.Unlock()
	if there {
		return nil
	}
	l, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		l.close()
		return ErrClosed
	}
	s.link, s.gone = l, nil
	s.wake()
	s.mu.Unlock()
	s.keeper.Go(func() { s.keep(l) })
	return nil
}

// wake tells those who wait for a link. Under mu.
func (s *Site) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// connect logs in, puts muster there and starts the relay.
func (s *Site) connect(ctx context.Context) (l *link, err error) {
	o := mssh.Options{Target: s.login.Target, Jump: s.login.Jump, Client: s.login.Client, Program: s.login.Command, Timeout: s.login.Timeout,
		AcceptNew: s.login.AcceptNew, ControlDir: s.o.SocketDir, Log: s.log, Spawn: s.o.Spawn, Prompt: s.asker.prompt(), Askpass: s.asker.env(s.o.Askpass)}
	client, err := mssh.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	s.step("login", "logged in to "+s.login.Target.String()+" at "+client.RemoteAddr())
	defer func() {
		if err != nil {
			client.Close()
			err = fmt.Errorf("%s: %w", s.login.Target, err)
		}
	}()
	p, err := s.equip(ctx, client)
	if err != nil {
		return nil, err
	}
	s.step("program", p.program+" can be run")
	rw, err := p.hand(ctx, client)
	if err != nil {
		return nil, err
	}
	conn, err := relay.Connect(ctx, rw, relay.Options{Log: s.log, Build: s.o.Build})
	if err != nil {
		rw.Close()
		return nil, err
	}
	l = &link{client, conn}
	s.mu.Lock()
	before := s.hello
	s.hello, s.program, s.state = conn.Hello(), p.program, p.state
	ports := slices.Clone(s.ports)
	s.mu.Unlock()
	for _, port := range ports {
		if err := port.listen(ctx, conn, before); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return l, nil
}

func (s *Site) step(what, found string) {
	if s.o.Step != nil {
		s.o.Step(what, found)
	}
}

// equip sees to it that muster is there.
func (s *Site) equip(ctx context.Context, client *mssh.Client) (*place, error) {
	p, err := look(ctx, client, s.login.State)
	if err != nil {
		return nil, err
	}
	s.step("system", p.system+", muster's folder is "+p.state)
	if s.login.Muster != "" {
		p.program = s.login.Muster
		_, err := p.version(ctx, client)
		return p, err
	}
	file, err := s.o.Program(p.os, p.arch, s.login.Binary)
	if err != nil {
		return nil, fmt.Errorf("it is %s: %w", p.system, err)
	}
	// The copy here lies in a folder that is called by its SHA-256.
	if err := p.find(ctx, client, filepath.Base(filepath.Dir(file))); err != nil {
		return nil, err
	}
	own := s.login.Binary == "" && p.os == runtime.GOOS && p.arch == runtime.GOARCH
	if p.present && own {
		return p, nil
	}
	if !p.present {
		s.o.Say("copying muster to %s", s.login.Name())
		if err := p.install(ctx, client, file); err != nil {
			return nil, err
		}
	}
	version, err := p.version(ctx, client)
	if err == nil && version != s.o.Build {
		err = fmt.Errorf("the program for %s/%s, %s, is muster %s, and this is %s: build it from the same source", p.os, p.arch, file, version, s.o.Build)
	}
	return p, err
}

// keep makes another link whenever one is lost.
func (s *Site) keep(l *link) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-l.conn.Done():
		case <-l.client.Done():
		}
		lost := cmp.Or(l.client.Err(), l.conn.Err(), errEnded)
		s.mu.Lock()
		s.link = nil
		s.mu.Unlock()
		l.close()
		if s.ctx.Err() != nil {
			return
		}
		since := time.Now()
		s.o.Say("the link to %s is lost (%v); workers there go on, and muster tries to reach it again", s.login.Name(), oneLine(lost.Error()))
		if l = s.again(); l == nil {
			return
		}
		s.o.Say("the link to %s is back after %s", s.login.Name(), time.Since(since).Round(time.Second))
	}
}

var errEnded = errors.New("it was ended there")

// Backoff of logins after a link was lost: the first after a moment, since most
// links come back at once or not for long.
const (
	firstWait = time.Second
	mostWait  = 30 * time.Second
)

// again logs in again until it works or cannot work, in which case it returns
// nil.
func (s *Site) again() *link {
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-s.ctx.Done():
			return nil
		}
		l, err := s.retry()
		if err == nil {
			return l
		}
		if s.ctx.Err() != nil {
			return nil
		}
		s.log.Info("not reached yet", "host", s.login.Name(), "error", err)
		if final(err) {
			s.mu.Lock()
			s.gone = err
			s.wake()
			s.mu.Unlock()
			s.o.Say("logging in to %s again is not possible: %v; `muster launch` with its launcher logs in anew", s.login.Name(), err)
			return nil
		}
	}
}

// final reports whether another try would fail as well, and would do harm:
// servers shut out who fails to log in again and again (PerSourcePenalties,
// sshd_config(5)).
func final(err error) bool {
	return errors.Is(err, mssh.ErrAuth) || errors.Is(err, mssh.ErrHostKey) || errors.Is(err, prompt.ErrNobody)
}

func (s *Site) retry() (*link, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.asker.fresh()
	l, err := s.connect(s.ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.link = l
	s.wake()
	renewed := slices.Clone(s.renewed)
	s.mu.Unlock()
	for _, f := range renewed {
		f(s.ctx)
	}
	return l, nil
}

// hand returns the relay, once there is a link.
func (s *Site) hand(ctx context.Context) (*relay.Conn, error) {
	for {
		s.mu.Lock()
		l, changed, gone := s.link, s.changed, s.gone
		s.mu.Unlock()
		switch {
		case l != nil:
			return l.conn, nil
		case gone != nil:
			return nil, fmt.Errorf("%s cannot be reached: %w", s.login.Target, gone)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s cannot be reached for now: %w", s.login.Target, context.Cause(ctx))
		case <-s.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// close ends the link and, if it is up, what was kept there for the run.
func (s *Site) close(ctx context.Context, keep bool) {
	s.mu.Lock()
	l, used, ports := s.link, s.used, slices.Clone(s.ports)
	s.mu.Unlock()
	for _, p := range ports {
		p.Close()
	}
	if l != nil && used && !keep {
		l.conn.Remove(ctx, s.Dir())
	}
	s.stop()
	if l != nil {
		l.close()
	}
	s.keeper.Wait()
}

// Login returns how the site is reached.
func (s *Site) Login() Login { return s.login }

// User is who muster is there.
func (s *Site) User() string { return s.known().hello.User }

// Program is the path of muster there.
func (s *Site) Program() string { return s.known().program }

// Dir is the folder there for what belongs to this run. It is made when the first
// file is written. It is not where a run that is started there has its own.
func (s *Site) Dir() string { return path.Join(s.known().state, "remote", s.o.Run) }

type knowledge struct {
	hello          relay.Hello
	program, state string
}

func (s *Site) known() knowledge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return knowledge{s.hello, s.program, s.state}
}

// Hello is what the relay there says of the machine.
func (s *Site) Hello() relay.Hello { return s.known().hello }

// CanForward asks whether the server forwards a port to here, which muster's
// workers do not need.
func (s *Site) CanForward(ctx context.Context) error {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l == nil {
		return errEnded
	}
	return l.client.CanForward(ctx)
}

// OnRenewal has f called each time that there is another link.
func (s *Site) OnRenewal(f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = append(s.renewed, f)
}

// WriteFile writes a file of mode 0600 there, and the folders to it.
func (s *Site) WriteFile(ctx context.Context, file string, data []byte) error {
	c, err := s.hand(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.used = true
	s.mu.Unlock()
	if err := c.WriteFile(ctx, file, data, fs.FileMode(0o600)); err != nil {
		return fmt.Errorf("%s: %w", s.login.Target, err)
	}
	return nil
}

// Remove removes files or folders there.
func (s *Site) Remove(ctx context.Context, paths ...string) error {
	c, err := s.hand(ctx)
	if err != nil {
		return err
	}
	return c.Remove(ctx, paths...)
}

// Tail returns the last n bytes of a file there.
func (s *Site) Tail(ctx context.Context, file string, n int) ([]byte, error) {
	c, err := s.hand(ctx)
	if err != nil {
		return nil, err
	}
	return c.Tail(ctx, file, n)
}

// HasDir reports whether a folder is there.
func (s *Site) HasDir(ctx context.Context, dir string) (bool, error) {
	c, err := s.hand(ctx)
	if err != nil {
		return false, err
	}
	_, isDir, err := c.Stat(ctx, dir)
	return isDir, err
}

// Run runs a command there and returns its output.
func (s *Site) Run(ctx context.Context, argv []string, stdin string) (relay.Output, error) {
	c, err := s.hand(ctx)
	if err != nil {
		return relay.Output{}, err
	}
	return c.Run(ctx, relay.Command{Argv: argv, Stdin: []byte(stdin)})
}

// Start starts a command there that outlives the link, in a folder, with its
// output in a file.
func (s *Site) Start(ctx context.Context, argv []string, dir, log string) (relay.Process, error) {
	c, err := s.hand(ctx)
	if err != nil {
		return relay.Process{}, err
	}
	s.mu.Lock()
	s.used = true
	s.mu.Unlock()
	return c.Start(ctx, relay.Command{Argv: argv, Dir: dir}, log)
}

// Alive reports which of the processes there are alive.
func (s *Site) Alive(ctx context.Context, list []relay.Process) ([]bool, error) {
	c, err := s.hand(ctx)
	if err != nil {
		return nil, err
	}
	return c.Alive(ctx, list)
}

// Signal sends a signal, such as SIGTERM, to a process there.
func (s *Site) Signal(ctx context.Context, p relay.Process, name string) error {
	c, err := s.hand(ctx)
	if err != nil {
		return err
	}
	return c.Signal(ctx, p, name)
}
