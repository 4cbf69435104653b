// Package fleet carries plans out: it records what it is about to start, starts it,
// watches over it and takes it back, through a backend for each kind of launcher.
//
// A launch is what the workers of one place share: a name, a credential, a join file
// and a folder for output. Its jobs are what was submitted, each with a record in a
// file of its own, and elements are the workers of a job. An endpoint is who is asked
// how they stand, for all jobs at once.
//
// The life of a job:
//
//	             Submit              start               two answers without it, or
//	(nothing) ----------> recorded ----------> submitted --- one that says so ---> ended
//	                       |    |                 ^   |                             |
//	        the endpoint   |    | its answer      |   | Cancel, TakeBack            | sweep,
//	        refuses it     |    | is lost         |   |                             | after a
//	                       |    v         found   |   v                             | while
//	                       |  maybe ---------> by name  being ended ----------------+
//	                       |  submitted                  the same answers           |
//	                       |    | looked for twice       v                          v
//	                       +----+--------------------> forgotten <------------------+
//
// Until it is forgotten, a job is on record. Only the caller of Submit has a job that
// is not submitted yet. From then on Fleet.mu guards it: learn moves it as answers say,
// end ends it, and forget removes record and files when no lock is held. What an
// answer that failed, was cut off or speaks of others says moves nothing.
//
// Nothing that takes time, and nothing of a caller's but Credentials.Joined, is called
// with Fleet.mu held.
package fleet

import (
	"context"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/ssh/relay"
)

// Fleet is all that one dispatcher has launched. Its exported fields are set before
// its first use.
type Fleet struct {
	Dir  string // where records are kept: the run's launches/
	Run  hpc.Runner
	User string
	Log  hclog.Logger
	// Say tells the user something that matters now.
	Say func(format string, args ...any)
	// Program returns the path of the muster that workers of this machine's schedulers
	// run.
	Program func() (string, error)
	// Credentials lets the workers of a launch join.
	Credentials func(ctx context.Context, l Launch) (Credentials, error)
	// Sites are the machines behind SSH.
	Sites *remote.Sites
	// Reopen plans again what a record of another process is about, from its config; nil
	// if there are none such.
	Reopen func(ctx context.Context, r *Record) (*plan.Plan, error)
	// Spawn starts a process of this one, and returns what is to be called when it has
	// been waited for; nil is exec.Cmd's Start.
	Spawn func(cmd *exec.Cmd) (ended func(), err error)

	mu        sync.Mutex // guards all below, and what belongs to it
	this      *here
	jobs      []*job // those that are not forgotten, in the order of submission
	launches  map[string]*launch
	endpoints map[backend]*endpoint
	followed  map[there]bool  // its join files follow its addresses
	left      map[place]bool  // output is left there without a record
	kept      []kept          // the newest last
	summary   string          // what was last said of those that wait
	woken     chan struct{}   // tells Watch of a new job
	services  map[asked]*web  // who is asked over HTTP
	notes     []string        // for whoever has asked that something is taken back
	strange   map[string]bool // words of launchers for how jobs stand that are not known
	stays     map[relay.Process]*stay
}

// Launch is a launch for which credentials are wanted.
type Launch struct {
	Plan    *plan.Plan
	Name    string
	Workers int
	Place   plan.Place
	Site    *remote.Site // the link to the place; there is none to this machine
}

// Credentials are a token's: what its workers are told, and which of them have ever
// joined, by the name of their element.
type Credentials struct {
	Join func() string // the join string, which changes when addresses do
	// Joined does not call the fleet, and does not wait for whoever does.
	Joined func(element string) bool
	// Here reports whether an element has a session; it is as Joined is.
	Here func(element string) bool
	Gone func(element string) // says that there is no process of it any more
	End  func()               // nobody joins any more
}

// none are the credentials of workers that are not muster's, and of launches of other
// processes.
func none() Credentials {
	return Credentials{Join: func() string { return "" }, Joined: func(string) bool { return false }, Here: func(string) bool { return false }, Gone: func(string) {}, End: func() {}}
}

// launch is what the workers of one place share.
type launch struct {
	name       string
	at         place
	cred       Credentials
	joinFile   string // empty without one
	output     string // the folder for what jobs print, empty without one
	jobs       []*job
	elements   map[string]member // by their names
	workers    int               // of all its jobs, those included that are not submitted yet
	submitting bool              // it may get more jobs
	delivering bool              // a scheduler may yet put something into output
}

// member is an element of a job.
type member struct {
	j     *job
	index int
}

// job is one submission.
type job struct {
	*Record
	launch   *launch
	endpoint *endpoint
	poll     time.Duration
	whose    plan.Whose
	elements map[int]*element

	ordering    chan struct{} // holds something while it is being cancelled
	cancelledAt time.Time     // when it last was, all of it

	takenBack bool      // it is being ended from here, or was in vain
	ending    int       // how many are ending it now, who forget it
	heard     bool      // the endpoint has spoken of it
	silent    bool      // that it has not has been said
	idle      string    // that it runs without its workers, when that has been said
	ended     time.Time // when all elements had; zero before
	trouble   string    // the last thing that went wrong
	pointed   bool      // the user has been told to look at what it printed
}

// element is one worker, as its endpoint has it.
type element struct {
	state      hpc.State
	end        hpc.End
	raw        string
	reason     string
	runs       time.Time // since when, as far as is known
	missing    int       // good answers in a row that did not list it
	unanswered int       // questions about it in a row that failed, beside others that did not
	off        bool      // it waits again after it had run, which has been said
	told       bool      // that it ended has been said

	cancelled bool // somebody else did that, which has been said
}

// lock locks the fleet and makes what it needs on its first use.
func (f *Fleet) lock() {
	f.mu.Lock()
	if f.this != nil {
		return
	}
	f.this = &here{f}
	f.launches = map[string]*launch{}
	f.endpoints = map[backend]*endpoint{}
	f.followed = map[there]bool{}
	f.left = map[place]bool{}
	f.woken = make(chan struct{}, 1)
	f.services = map[asked]*web{}
	f.strange = map[string]bool{}
	f.stays = map[relay.Process]*stay{}
}

// Jobs returns the ids of all that was submitted and is not forgotten.
func (f *Fleet) Jobs() []string {
	f.lock()
	defer f.mu.Unlock()
	var ids []string
	for _, j := range f.jobs {
		if j.ID != "" {
			ids = append(ids, j.theirs())
		}
	}
	return ids
}

// On reports whether something is on a machine behind SSH, so that its link and the
// run's folder there are needed.
func (f *Fleet) On(site *remote.Site) bool {
	f.lock()
	defer f.mu.Unlock()
	at := place(there{site})
	return f.left[at] || slices.ContainsFunc(f.jobs, func(j *job) bool { return j.launch.at == at }) ||
		slices.ContainsFunc(f.kept, func(k kept) bool { return k.at == at && k.output != "" })
}

// Notes returns, once, what has been said of what was taken back and what whoever asked
// for that is to know.
func (f *Fleet) Notes() []string {
	f.lock()
	defer f.mu.Unlock()
	notes := f.notes
	f.notes = nil
	return notes
}

// Left says what is left to do when all is left as it is: the commands that a person
// would type to end jobs, and the jobs for which there is none, which `muster down` ends.
func (f *Fleet) Left() (commands [][]string, others []string) {
	f.lock()
	defer f.mu.Unlock()
	for _, j := range f.jobs {
		switch argv := j.endpoint.command(j.Record); {
		case j.ID == "" || j.Endless:
		case len(argv) > 0:
			commands = append(commands, argv)
		default:
			others = append(others, j.theirs())
		}
	}
	return commands, others
}

// add adds a job that has been submitted, or may have been.
func (f *Fleet) add(j *job) {
	f.lock()
	f.jobs = append(f.jobs, j)
	j.launch.jobs = append(j.launch.jobs, j)
	f.launches[j.launch.name] = j.launch
	j.name()
	f.mu.Unlock()
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// name notes the names of the elements, once there is an id. It needs Fleet.mu.
func (j *job) name() {
	if j.ID == "" {
		return
	}
	for index := range j.elements {
		j.launch.elements[j.element(index)] = member{j, index}
	}
}

// element names an element as it names itself.
func (j *job) element(index int) string { return j.endpoint.element(j.Record, index) }

// joined reports whether a worker has ever joined.
func (j *job) joined(index int) bool { return j.launch.cred.Joined(j.element(index)) }

// over reports whether all elements have ended. It needs Fleet.mu.
func (j *job) over() bool {
	for _, m := range j.elements {
		if m.state != hpc.Ended {
			return false
		}
	}
	return true
}
