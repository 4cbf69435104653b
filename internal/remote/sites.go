// Package remote keeps a relay running on another machine: it logs in, puts
// muster there, runs the relay over that one session, and does so again when
// the link is lost, as long as there is work for it.
//
//	Sites ─ Site ─ ssh.Client ══ relay.Conn ══ muster relay there
//	          │                       │
//	          ├─ Run, Start, files ───┤    what schedulers and workers need
//	          └─ Port ────────────────┘    a TCP port there whose connections come out here
package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options configures Sites.
type Options struct {
	// Run is what the folders there begin with in which everything is kept that
	// goes with the Sites.
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
	// Needed reports whether something that was begun on a site is still there, so
	// that its link stays though nobody holds it; nil is never.
	Needed func(*Site) bool
	// Progress, if not nil, is told how far a copy of the program is, where
	// otherwise Say says that there is one. Copies to several machines call it at
	// the same time.
	Progress func(Progress)
	// CopyPatience is how long such a copy may make no progress; 0 is a minute.
	CopyPatience time.Duration
	// Step, if not nil, is told what has been found on the way to a machine.
	Step func(what, found string)
}

// Progress says how much of the program is on a machine.
type Progress struct {
	Host        string
	Done, Total int64 // bytes
	Over        bool  // the copy has ended, well or not
}

// Sites are the machines that one dispatcher, or one command, works on. A login
// is done once, however many launchers name it.
type Sites struct {
	o Options

	mu     sync.Mutex // guards all below
	sites  map[string]*Site
	held   map[*Site]int            // how often it was opened and not left
	ending map[string]chan struct{} // closed when a link has ended, and what was kept there is gone
	closed bool
}

// New returns Sites without a site. Close ends them.
func New(o Options) *Sites {
	return &Sites{o: o, sites: map[string]*Site{}, held: map[*Site]int{}, ending: map[string]chan struct{}{}}
}

// ErrClosed says that a site, or all, have been closed.
var ErrClosed = errors.New("the link has been closed")

// Open returns the site of a login, logging in if that has not been done. socket
// is where questions are answered, empty if nobody can be asked. Leave is called
// for each Open that succeeded.
func (s *Sites) Open(ctx context.Context, l Login, socket string) (*Site, error) {
	site, err := s.hold(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := site.open(ctx, socket); err != nil {
		s.Leave(site)
		return nil, err
	}
	return site, nil
}

// hold returns the site of a login, which stays until it is left. One whose link is
// just ending is waited for: the next has the same folder and the same ports.
func (s *Sites) hold(ctx context.Context, l Login) (*Site, error) {
	key := l.key()
	s.mu.Lock()
	for s.ending[key] != nil && !s.closed {
		ended := s.ending[key]
		s.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: its last link has not ended yet: %w", l.Target, context.Cause(ctx))
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	site := s.sites[key]
	if site == nil {
		site = newSite(s.o, l)
		s.sites[key] = site
	}
	s.held[site]++
	return site, nil
}

// Leave undoes one Open: the link ends if nobody else has it open and nothing is
// left there.
func (s *Sites) Leave(site *Site) {
	s.mu.Lock()
	if s.held[site]--; s.held[site] <= 0 {
		delete(s.held, site)
	}
	s.mu.Unlock()
	s.Release()
}

// Release ends the links that nobody holds and that are not needed any more.
func (s *Sites) Release() {
	s.mu.Lock()
	var idle []string
	for key, site := range s.sites {
		if s.held[site] == 0 && (s.o.Needed == nil || !s.o.Needed(site)) {
			idle = append(idle, key)
		}
	}
	var ending sync.WaitGroup
	for _, key := range idle {
		s.end(context.Background(), key, false, &ending)
	}
	s.mu.Unlock()
	ending.Wait()
}

// end takes a site out and ends its link, which is counted. It needs mu.
func (s *Sites) end(ctx context.Context, key string, keep bool, ending *sync.WaitGroup) {
	site, ended := s.sites[key], make(chan struct{})
	delete(s.sites, key)
	s.ending[key] = ended
	ending.Go(func() {
		site.close(ctx, keep)
		s.mu.Lock()
		delete(s.ending, key)
		s.mu.Unlock()
		close(ended)
	})
}

// Close ends all links. What was kept for the run on machines that can be
// reached is removed there, unless keep says of a site that something is left.
func (s *Sites) Close(ctx context.Context, keep func(*Site) bool) {
	kept := map[*Site]bool{}
	for _, site := range s.shut() {
		kept[site] = keep != nil && keep(site)
	}
	s.mu.Lock()
	var ending sync.WaitGroup
	for _, ended := range s.ending { // by somebody else, in a bounded time
		ending.Go(func() { <-ended })
	}
	for _, key := range slices.Collect(maps.Keys(s.sites)) {
		s.end(ctx, key, kept[s.sites[key]], &ending)
	}
	s.mu.Unlock()
	ending.Wait()
}

// shut lets nobody open a site any more, and returns those that there are.
func (s *Sites) shut() []*Site {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Collect(maps.Values(s.sites))
}
