package launch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/remote"
)

// Fleet is all that one dispatcher has launched through schedulers and by SSH.
type Fleet struct {
	Dir  string // where records are kept: the run's launches/
	Run  hpc.Runner
	User string
	Log  hclog.Logger
	// Say tells the user something that matters now.
	Say func(format string, args ...any)
	// Credentials lets so many workers of one job join. site is the machine
	// that they dial, nil if that is this one.
	Credentials func(ctx context.Context, p *Plan, job string, workers int, site *remote.Site) (Credentials, error)
	// Sites are the machines behind SSH.
	Sites *remote.Sites

	mu       sync.Mutex // guards all below
	groups   []*group
	crews    map[*remote.Site]*crew
	followed map[*remote.Site]bool // join files there follow its addresses
	asked    map[office]time.Time  // when it was last asked
	mute     map[office]bool       // it has not answered since
	summary  string
	last     time.Time // submission

	inquiries map[office]*inquiry  // those that are yet to be asked
	inquired  map[office]time.Time // when it was last asked one
}

// Credentials are a token's: what its workers are told, and which of them have
// ever joined, by the name of their element.
type Credentials struct {
	Join   func() string // the join string, which changes when addresses do
	Joined func(element string) bool
	Gone   func(element string) // says that there is no process of it any more; may be nil
	End    func()               // nobody joins any more; may be nil
}

// office is who is asked how workers stand: a scheduler, here or on a machine
// behind SSH, or that machine itself.
type office struct {
	site    *remote.Site
	dialect *hpc.Dialect
}

func (o office) String() string {
	switch {
	case o.site == nil:
		return o.dialect.Name
	case o.dialect == nil:
		return o.site.Login().Name()
	}
	return o.dialect.Name + " on " + o.site.Login().Name()
}

// group is one submission.
type group struct {
	*Record
	keeper
	office  office
	at      machine
	array   *hpc.Array
	poll    time.Duration
	foreign bool
	profile string
	output  string
	cred    Credentials
	members map[int]*member // by index, 0 for a plain job

	takenBack bool // it is being ended from here
}

// member is one element of a group.
type member struct {
	state   hpc.State
	raw     string
	reason  string
	listed  bool // the scheduler has spoken of it
	missing int  // good answers in a row that did not
	off     bool // it waits again after it had run, which has been said
	told    bool // that it ended without having joined

	cancelled bool // somebody else did that, which has been said
}

// Jobs returns the ids of all that was submitted.
func (f *Fleet) Jobs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, g := range f.groups {
		if g.ID != "" {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

// On reports whether something is left on a machine behind SSH.
func (f *Fleet) On(site *remote.Site) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.groups, func(g *group) bool { return g.office.site == site })
}

func (g *group) element(index int) string {
	return g.Element(g.ID, index, g.array != nil)
}
