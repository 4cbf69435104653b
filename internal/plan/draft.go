package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/config"
)

// Wish is what the command line and the profile ask for beside a launcher.
type Wish struct {
	Profile  string
	Workers  int // in each place, or of jobs that are submitted as they are; 0 is as Times says
	Times    Times
	Slots    int           // of each worker, unless the launcher says
	Walltime time.Duration // of each worker; 0 is no limit but the launcher's
	Life     time.Duration // the most that a worker lives, whatever the config says; 0 is no limit
	Estimate time.Duration // how long a task takes, about
	Dir      string        // where jobs start, unless the launcher says
	Port     string        // of the dispatcher; empty if any will do
	URL      string        // that other people's workers dial; empty if the profile has none
	Before   []string      // words before a worker's own command line
	Options  WorkerOptions
}

// Times says how often a launcher's array, or a job without one, is submitted, and how
// many workers are started on each machine.
type Times int

// AsArray is the configured array once, and nothing without one.
const AsArray Times = -1

// MaxWorkers is how many workers a launch can have.
const MaxWorkers = hpc.MaxElements

// Draft is the plan of a launcher whose names are not minted yet. Settings that speak
// of the worker are not evaluated in it.
type Draft struct {
	*Plan
	x       *drafting
	written []config.Shown // the settings that speak of the worker, as they stand in the config
	// one is what one worker would be asked for, if the plan has none.
	one *Plan
}

// New drafts the plan of a launcher. What its scheduler would refuse is found here.
func New(e *config.Evaluation, f *config.File, l *config.Launcher, w Wish) (*Draft, error) {
	x := &drafting{e, f, l, w}
	if err := x.carried(); err != nil {
		return nil, err
	}
	p, err := kindOf(l.Kind).plan(x, nil)
	if err != nil {
		return nil, err
	}
	d := &Draft{Plan: p, x: x}
	if p.Workers() == 0 {
		y := *x
		y.w.Workers = 1
		if d.one, err = kindOf(l.Kind).plan(&y, nil); err != nil {
			return nil, err
		}
	}
	late := kindOf(l.Kind).late
	if late || speaks(l) {
		shown, err := e.Show(l)
		if err != nil {
			return nil, err
		}
		d.written = slices.DeleteFunc(shown, func(s config.Shown) bool { return !late && !l.Mentions(s.Name) })
	}
	return d, nil
}

// carried refuses worker.join in a launcher of a kind that has its own ways for it.
func (x *drafting) carried() error {
	if kindOf(x.l.Kind).late {
		return nil
	}
	var bad []error
	for _, f := range config.Fields(kindOf(x.l.Kind).Settings) {
		if x.l.Names(f.Name, "join") {
			bad = append(bad, x.at(f.Name, "worker.join is for launchers of kind http and command", "worker.join_file is the file where the worker reads it"))
		}
	}
	return x.f.Join(bad...)
}

// Named evaluates the settings that speak of the worker and returns the plan with
// names, one for each place.
func (d *Draft) Named(names []Names) (*Plan, error) {
	if want := len(d.Kind.Places()); len(names) != want {
		return nil, d.misnamed(len(names), want)
	}
	names = slices.Clone(names)
	for i := range names { // those of other people's workers have no dispatcher that knows
		names[i].URL, names[i].Port = cmp.Or(names[i].URL, d.x.w.URL), cmp.Or(names[i].Port, d.x.w.Port)
	}
	if !speaks(d.x.l) && !kindOf(d.x.l.Kind).late {
		q := *d.Plan
		q.Names = names
		return &q, nil
	}
	return kindOf(d.x.l.Kind).plan(d.x, names)
}

// Sized returns the draft for n workers, in each place.
func (d *Draft) Sized(n int) (*Draft, error) {
	x := *d.x
	x.w.Workers = n
	return New(x.e, x.f, x.l, x.w)
}

// Pasted returns the plan as it is shown when no dispatcher has minted names: words in
// capitals stand for them. muster is the program on this machine.
func (d *Draft) Pasted(muster string) (*Plan, error) { return d.Named(d.Placeholders(muster)) }

// Placeholders are names for a plan that is only shown.
func (d *Draft) Placeholders(muster string) []Names {
	var list []Names
	for _, place := range d.Kind.Places() {
		n := Names{JoinFile: "JOIN_FILE", Join: "JOIN_STRING", Output: "RUN_DIR/" + cmp.Or(plain(d.jobName()), d.Launcher), Muster: muster,
			URL: cmp.Or(d.x.w.URL, "URL"), Port: cmp.Or(d.x.w.Port, "PORT")}
		if _, cluster := d.Kind.(*Cluster); cluster && !place.Here() {
			n.Muster = "MUSTER_THERE"
		}
		n.Muster = cmp.Or(d.Muster, n.Muster)
		list = append(list, n)
	}
	return list
}

// plain is a name that can be part of a path for every scheduler; empty if it cannot.
func plain(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.[]", r))
	}) {
		return ""
	}
	return name
}

// jobName is the name of the first job, if the plan has jobs with names.
func (d *Draft) jobName() string {
	if c, is := d.Kind.(*Cluster); is && len(c.Jobs) > 0 {
		return c.jobName(d.Plan, 0, "")
	}
	return ""
}

// drafting is what planners of all kinds work with.
type drafting struct {
	e *config.Evaluation
	f *config.File
	l *config.Launcher
	w Wish
}

// fill evaluates all of the launcher's settings for one worker of a plan. Other
// people's workers dial what the profile says.
func (x *drafting) fill(settings any, w config.Worker) error {
	if whoseOf(x.l) == Foreign {
		w.URL = cmp.Or(x.w.URL, w.URL)
	}
	if w.URL == "" {
		if err := noURL(x.f, x.l); err != nil {
			return err
		}
	}
	return x.e.LauncherFor(x.l, w, settings)
}

// NeedsURL returns what is wrong with a launcher of other people's workers in a profile
// that does not say where they dial.
func NeedsURL(f *config.File, l *config.Launcher) error {
	if whoseOf(l) != Foreign {
		return nil // the dispatcher knows
	}
	return noURL(f, l)
}

// noURL puts a mistake where a launcher speaks of a URL that nobody knows.
func noURL(f *config.File, l *config.Launcher) error {
	for _, s := range config.Fields(kindOf(l.Kind).Settings) {
		if l.Mentions(s.Name, "url") {
			return f.At(l.Where(s.Name), 0, s.Name+" speaks of worker.url, and the profile does not say where workers dial", `url = "tcp://HOST:PORT" in the profile says`)
		}
	}
	return nil
}

// whoseOf tells whose workers a launcher starts.
func whoseOf(l *config.Launcher) Whose {
	switch {
	case !l.Has("worker_command"):
		return Own
	case l.Mentions("worker_command", "command", "argv", "join_file"):
		return Wrapped
	}
	return Foreign
}

// early finds settings that speak of the worker and are needed before there is one:
// all but those that are named late.
func early(l *config.Launcher, late ...string) []config.Diagnostic {
	var bad []config.Diagnostic
	for _, f := range config.Fields(kindOf(l.Kind).Settings) {
		if l.Mentions(f.Name) && !slices.Contains(late, f.Name) {
			bad = append(bad, l.Mistake(f.Name, f.Name+" cannot speak of the worker: it has to be known before there is one", "those that can are "+strings.Join(late, ", ")))
		}
	}
	return bad
}

// at puts a mistake where a setting stands.
func (x *drafting) at(setting, msg, hint string) error {
	return x.f.Errors([]config.Diagnostic{x.l.Mistake(setting, msg, hint)})
}

// begin makes what plans of all kinds have in common. slots and dir are the
// launcher's.
func (x *drafting) begin(k Kind, poll time.Duration, slots int, dir, muster string) *Plan {
	return &Plan{Profile: x.w.Profile, Launcher: x.l.Name, Config: x.f.Full, Poll: poll, Whose: whoseOf(x.l), Muster: muster, Kind: k,
		Worker: Worker{Before: x.w.Before, Slots: cmp.Or(slots, x.w.Slots), Walltime: x.life(x.w.Walltime), Estimate: x.w.Estimate, Dir: dir, Options: x.w.Options}}
}

// bounded refuses times as many workers as each has, if these are too many.
func (x *drafting) bounded(times, each int) error {
	if times <= MaxWorkers/max(each, 1) {
		return nil
	}
	return fmt.Errorf("launcher %s would start %d times %d workers, and a launch can have %d at most", x.l.Name, times, each, MaxWorkers)
}

// life is a walltime, or the most that is wished.
func (x *drafting) life(walltime time.Duration) time.Duration {
	if x.w.Life > 0 && (walltime == 0 || walltime > x.w.Life) {
		return x.w.Life
	}
	return walltime
}

// Digest says in a few characters what the drafts ask for. The same drafts have the
// same digest.
func Digest(drafts []*Draft) string {
	sum := sha256.New()
	enc := json.NewEncoder(sum)
	for _, d := range drafts {
		if err := enc.Encode([]any{d.Plan, d.written, d.one}); err != nil {
			panic(err) // a plan always marshals
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
