package future

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/state"
	"muster/internal/units"
	"muster/rng"
	"muster/task"
	mtls "muster/tls"
)

// Session is a dispatcher, in this process or running elsewhere on this
// machine. It is safe for concurrent use.
type Session struct {
	backend
	sync bool
}

// backend is a dispatcher in this process, or the way to one that is running.
type backend interface {
	submit(ctx context.Context, spec task.Spec, c call) (handle, error)
	mapping(ctx context.Context, c call, each func(func(task.Spec) error) error) (handle, error)
	everywhere(ctx context.Context, spec task.Spec) (handle, error)
	info(ctx context.Context) (Info, error)
	status(ctx context.Context) (Status, error)
	launch(ctx context.Context, n int) error
	retire(ctx context.Context, n int) error
	up(ctx context.Context, st *settings) error
	close() error
}

// handle is one submission. Its methods wait no longer than ctx allows.
type handle interface {
	// done is closed when all are resolved, or nothing more can be known of them.
	done() <-chan struct{}
	// unresolved reports whether done is not closed yet. It waits for nothing that
	// others do here.
	unresolved() bool
	// result waits for the i-th; errNoMore says that there is none. The caller
	// keeps what it has got and asks for it once.
	result(ctx context.Context, i int) (outcome, error)
	// failed waits until one has failed, or all have succeeded: -1.
	failed(ctx context.Context) (int, error)
	cancel() bool
	// forget drops the results; whoever waits for one gets ErrForgotten.
	forget(ctx context.Context)
}

type outcome struct {
	name   string
	stream rng.Stream
	output []byte
	err    error
}

var errNoMore = errors.New("there are no more results")

// Info is the five counters of a profile.
type Info = task.Info

// Status is the full picture of a profile.
type Status = dispatcher.PoolStatus

// Option is an option of Up.
type Option func(*settings)

type settings struct {
	spec       host.Spec
	urls       []string
	configPath string
	launcher   string
	workers    int
	draft      *plan.Draft // of the launcher; nil without one
	identity   *mtls.Identity
	stateDir   string
	log        hclog.Logger
	err        error
}

// Workers starts n workers: processes of this program on this machine, or with
// Launcher those that it starts.
func Workers(n int) Option { return func(s *settings) { s.workers = n } }

// Profile is the profile to make; without it "default".
func Profile(name string) Option { return func(s *settings) { s.spec.Name = name } }

// Slots is how many tasks each worker runs at once; 1 without it.
func Slots(n int) Option { return func(s *settings) { s.spec.Slots = n } }

// Memory lets Submit wait while so many bytes of tasks, or more, are queued.
func Memory(bytes int64) Option { return func(s *settings) { s.spec.Memory = units.Size(bytes) } }

// RoundRobin gives tasks to workers in turn instead of to whoever is free.
func RoundRobin() Option { return func(s *settings) { s.spec.RoundRobin = true } }

// Tries is how often a task that fails is tried in all; once without it.
func Tries(n int) Option { return func(s *settings) { s.spec.Tries = n } }

// LostRetries is how often a task is tried again whose worker was lost; 2 without it.
func LostRetries(n int) Option { return func(s *settings) { s.spec.LostRetries = n } }

// Seed is the seed of the profile's random streams, as R's daemons(seed = ) has it: the
// N-th task that is submitted has the N-th, in which worker ever it runs, and however
// often. [rng.FromContext] draws from it. Without a seed each slot has a stream that
// nobody chooses.
func Seed(seed int32) Option { return func(s *settings) { s.spec.Seed = rng.Seeded(seed) } }

// Reattach is how long a worker on another machine is waited for whose connection
// broke, with its tasks; 10 minutes without it, and 0 is not at all.
func Reattach(d time.Duration) Option {
	return func(s *settings) { s.spec.Reattach = units.Duration(d) }
}

// URL is where workers on other machines dial, such as tls+tcp://HOST:5555;
// without one no port is opened until a launcher needs it.
func URL(urls ...string) Option { return func(s *settings) { s.urls = urls } }

// Launcher starts workers with a launcher of a config, which submits this
// program to a cluster; its nodes must see the state directory.
func Launcher(configPath, name string) Option {
	return func(s *settings) { s.configPath, s.launcher = configPath, name }
}

// TLS is the certificate and key by which workers know the dispatcher, instead
// of the ones that are made on first use. Workers pin the key.
func TLS(cert tls.Certificate) Option {
	return func(s *settings) { s.identity, s.err = mtls.NewIdentity(cert) }
}

// Sync runs every task in the goroutine that submits it, before Submit returns:
// for debugging. There are no workers, and no other option has effect but Seed.
func Sync() Option { return func(s *settings) { s.spec.Sync = true } }

// StateDir is where the dispatcher keeps what outlives it, instead of
// $MUSTER_STATE or the user's state directory.
func StateDir(dir string) Option { return func(s *settings) { s.stateDir = dir } }

// Logger is who is told what happens; nobody without it.
func Logger(log hclog.Logger) Option { return func(s *settings) { s.log = log } }

func newSettings(opts []Option) (*settings, error) {
	st := &settings{spec: host.Spec{Name: "default", Slots: 1, LostRetries: 2, Reattach: units.Duration(plan.DefaultReattach)}, log: hclog.NewNullLogger()}
	for _, o := range opts {
		o(st)
	}
	switch {
	case st.err != nil:
		return nil, st.err
	case st.workers < 0 || st.spec.Slots < 1:
		return nil, fmt.Errorf("%d workers of %d slots: there are 0 workers or more, of 1 slot or more", st.workers, st.spec.Slots)
	case st.spec.Reattach < 0:
		return nil, fmt.Errorf("reattach: %v is negative", st.spec.Reattach)
	case !host.ValidName(st.spec.Name):
		return nil, fmt.Errorf("%q is no name of a profile: it has letters, digits, - and _, 40 at most", st.spec.Name)
	}
	if st.launcher == "" {
		st.spec.Workers = st.workers
	} else if err := st.plan(); err != nil {
		return nil, err
	}
	if len(st.urls) > 0 {
		var err error
		if st.spec.Listen, st.spec.Hosts, err = host.Endpoint(st.urls); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// plan drafts what the launcher is asked for.
func (st *settings) plan() error {
	f, err := plan.Load(st.configPath)
	if err != nil {
		return err
	}
	l, err := f.Launcher(st.launcher)
	if err != nil {
		return err
	}
	if l.Kind == config.Local {
		st.launcher, st.spec.Workers = "", st.workers
		return nil
	}
	if l.Kind == "ssh" || l.Via != nil {
		// What would have to be copied, and to be the relay there, is this program.
		return f.At(l.Range, 0, "a Go program's own workers are not started by SSH", "`muster up` with this launcher runs commands there, and Connect reaches it")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	e := f.Evaluate(config.Options{Getenv: os.LookupEnv})
	st.draft, err = plan.New(e, f, l, plan.Wish{Workers: st.workers, Times: plan.AsArray, Slots: st.spec.Slots, Dir: dir, Profile: st.spec.Name, Before: []string{"env", envFuture + "=1"}})
	return err
}

// Up starts a dispatcher in this process, with one profile and its workers.
// Close ends all of it. Where Up is called from within a task, it starts no
// workers on this machine: every task would.
func Up(ctx context.Context, opts ...Option) (*Session, error) {
	st, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	if st.spec.Sync {
		return &Session{sync: true, backend: newSyncBackend(st.spec.Seed)}, nil
	}
	if st.spec.Workers > 0 && insideTask() {
		return nil, errors.New("this is a task already, and workers here would be started in every task: use a session with a profile for inner tasks, started outside")
	}
	if !mainCalled {
		return nil, errors.New("main has not called future.Main: workers are this program, and would start themselves over and over")
	}
	b, err := openLocal(st)
	if err != nil {
		return nil, err
	}
	if err := b.up(ctx, st); err != nil {
		b.close()
		return nil, err
	}
	return &Session{backend: b}, nil
}

// Connect uses the dispatcher of a name that `muster up` started on this
// machine; "" is the default one. Functions need workers that are this program,
// which Launch starts: commands run on any.
func Connect(ctx context.Context, name string) (*Session, error) {
	if name == "" {
		name = "default"
	}
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	b, err := openRemote(ctx, control.Socket(dir, name))
	if err != nil {
		return nil, err
	}
	return &Session{backend: b}, nil
}

// Add makes another profile in the session.
func (s *Session) Add(ctx context.Context, opts ...Option) error {
	st, err := newSettings(opts)
	if err != nil {
		return err
	}
	return s.up(ctx, st)
}

// Launch starts n more workers.
func (s *Session) Launch(ctx context.Context, n int) error { return s.launch(ctx, n) }

// Scale starts workers, or tells idle ones first to finish and leave, so that n
// are connected. It returns when they have been started or told.
func (s *Session) Scale(ctx context.Context, n int) error {
	i, err := s.Info(ctx)
	if err != nil {
		return err
	}
	if n >= i.Connections {
		return s.launch(ctx, n-i.Connections)
	}
	return s.retire(ctx, i.Connections-n)
}

// Info returns the profile's counters.
func (s *Session) Info(ctx context.Context) (Info, error) { return s.info(ctx) }

// Status returns how the profile stands.
func (s *Session) Status(ctx context.Context) (Status, error) { return s.status(ctx) }

// Close ends the dispatcher of Up with all its workers: what is unresolved
// resolves with code 19, Connection reset. After Connect it lets go of the
// connection only.
func (s *Session) Close() error { return s.close() }

// closePatience is how long schedulers get to take jobs back.
const closePatience = time.Minute

func commandSpec(argv []string, c call) (task.Spec, error) {
	if len(argv) == 0 {
		return task.Spec{}, errors.New("there is no command")
	}
	if c.dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return task.Spec{}, err
		}
		c.dir = dir
	}
	return task.Spec{Argv: argv, Env: c.env, Dir: c.dir}, nil
}
