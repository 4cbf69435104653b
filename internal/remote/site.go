package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// Site is one machine.
type Site struct {
	o     Options
	login Login
	log   hclog.Logger

	opening      sync.Mutex // held while a link is made, by whoever makes it
	ctx          context.Context
	stop         context.CancelFunc
	reconnecting sync.WaitGroup // the goroutine that makes links again

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
	s.tell()
	s.reconnecting.Go(func() { s.reconnect(l) })
	return nil
}

// tell tells those who want to know that there is another link.
func (s *Site) tell() {
	s.mu.Lock()
	renewed := slices.Clone(s.renewed)
	s.mu.Unlock()
	for _, f := range renewed {
		f(s.ctx)
	}
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
	rw, err := p.startRelay(ctx, client)
	if err != nil {
		return nil, err
	}
	conn, err := relay.Connect(ctx, rw, relay.Options{Log: s.log, Build: s.o.Build})
	if err != nil {
		said := oneLine(rw.Stderr())
		rw.Close()
		if said != "" {
			err = fmt.Errorf("%w; it said: %s", err, said)
		}
		return nil, err
	}
	l = &link{client, conn}
	s.mu.Lock()
	before, ports := s.hello, slices.Clone(s.ports)
	s.mu.Unlock()
	for _, port := range ports {
		if err := port.listen(ctx, conn, before); err != nil {
			conn.Close()
			return nil, err
		}
	}
	s.mu.Lock()
	s.hello, s.program, s.state = conn.Hello(), p.program, p.state
	s.mu.Unlock()
	return l, nil
}

func (s *Site) step(what, found string) {
	if s.o.Step != nil {
		s.o.Step(what, found)
	}
}

// equip sees to it that muster is there.
func (s *Site) equip(ctx context.Context, client *mssh.Client) (*place, error) {
	p, err := look(ctx, client, s.login.State, s.log)
	if err != nil {
		return nil, err
	}
	s.step("system", p.system+", muster's folder is "+p.state)
	if s.login.Muster != "" {
		p.program = s.login.Muster
		_, err := p.version(ctx, client)
		return p, err
	}
	if s.login.Binary == "" && (p.os == "" || p.arch == "") {
		return nil, fmt.Errorf("it calls itself %q, which is no system that muster knows: name a program for it with binary in the launcher, or muster if it is there", p.system)
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
		if s.o.Progress == nil {
			s.o.Say("copying muster to %s", s.login.Name())
		}
		o := copyOptions{host: s.login.Name(), progress: s.o.Progress, patience: cmp.Or(s.o.CopyPatience, defaultPatience)}
		if err := p.install(ctx, client, file, o); err != nil {
			return nil, err
		}
	}
	version, err := p.version(ctx, client)
	if err == nil && version != s.o.Build {
		err = fmt.Errorf("the program for %s/%s, %s, is muster %s, and this is %s: build it from the same source", p.os, p.arch, file, version, s.o.Build)
	}
	return p, err
}

// reconnect makes another link whenever one is lost.
func (s *Site) reconnect(l *link) {
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
	s.mu.Unlock()
	s.tell()
	return l, nil
}

// close ends the link and, if it is up, what was kept there for the run.
func (s *Site) close(ctx context.Context, keep bool) {
	s.stop() // no other link is made, but for one that is just about to be there
	s.reconnecting.Wait()
	s.mu.Lock()
	l, used, ports := s.link, s.used, slices.Clone(s.ports)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if l != nil {
		// A link that is lost and does not know it yet may hold up all below.
		defer context.AfterFunc(ctx, l.close)()
	}
	for _, p := range ports {
		p.Close()
	}
	if l == nil {
		return
	}
	if used && !keep {
		l.conn.Remove(ctx, s.Dir())
	}
	l.close()
}

// closeTime bounds the end of a link.
const closeTime = 10 * time.Second
