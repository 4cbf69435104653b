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
	"os/exec"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
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
	held   map[*Site]int // how often it was opened and not left
	closed bool
}

// New returns Sites without a site. Close ends them.
func New(o Options) *Sites { return &Sites{o: o, sites: map[string]*Site{}, held: map[*Site]int{}} }

// ErrClosed says that a site, or all, have been closed.
var ErrClosed = errors.New("the link has been closed")

// Open returns the site of a login, logging in if that has not been done. socket
// is where questions are answered, empty if nobody can be asked. Leave is called
// for each Open that succeeded.
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
	s.held[site]++
	s.mu.Unlock()
	if err := site.open(ctx, socket); err != nil {
		s.Leave(site)
		return nil, err
	}
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
	var idle []*Site
	for key, site := range s.sites {
		if s.held[site] == 0 && (s.o.Needed == nil || !s.o.Needed(site)) {
			idle = append(idle, site)
			delete(s.sites, key)
		}
	}
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, site := range idle {
		ending.Go(func() { site.close(context.Background(), false) })
	}
	ending.Wait()
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
