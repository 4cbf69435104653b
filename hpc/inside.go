package hpc

import (
	"context"
	"slices"
	"strings"
)

// Identity says which element of which job this process runs in.
type Identity struct {
	Scheduler string
	Job       string // the id that submission printed
	Index     int    // of the array's element, 0 for a plain job
	Element   string // names the element among all of the scheduler's, the same after a requeue
	Restart   uint32 // how often the scheduler has started it again, where it says
}

// Inside tells from the environment which job this process belongs to.
func Inside(getenv func(string) string) (Identity, bool) {
	for _, name := range Names() {
		if id, ok := Dialects[name].inside(getenv); ok {
			return id, true
		}
	}
	return Identity{}, false
}

// environment is what a scheduler's commands and jobs have in their environment.
type environment struct {
	inside   []string // all of these are set in a job and nowhere else
	prefixes []string // variables that begin so are the scheduler's
	where    []string // says where the scheduler is, or which
	keep     []string // of these, what says where the scheduler is, and what a user wishes of it
	wishes   []string // variables that begin so are a user's wishes, outside of a job
	drop     []string // further variables that would change what commands do or answer
	bare     []string // what a job has that has no prefix
}

// Where returns what an environment says of where the scheduler is, so that another
// command can ask the same one: NAME=VALUE, without a value of what is not set.
func (d *Dialect) Where(getenv func(string) string) []string {
	var list []string
	for _, name := range d.environment.where {
		list = append(list, name+"="+getenv(name))
	}
	return list
}

// At returns a runner of commands that find the scheduler where Where has said, if the
// environment of run says something else.
func At(run Runner, where []string, getenv func(string) string) Runner {
	prefix := []string{"env"}
	var set []string // behind what env is to unset
	for _, kv := range where {
		switch name, value, _ := strings.Cut(kv, "="); {
		case getenv(name) == value:
		case value == "":
			prefix = append(prefix, "-u", name)
		default:
			set = append(set, kv)
		}
	}
	if prefix = append(prefix, set...); len(prefix) == 1 {
		return run
	}
	return func(ctx context.Context, argv []string, stdin string) (Output, error) {
		o, err := run(ctx, append(slices.Clone(prefix), argv...), stdin)
		o.Argv = argv
		return o, err
	}
}

// Scrub removes from an environment what would filter or change the answers of
// schedulers' commands, or redirect a submission, and what the job in which this
// process may run would hand on to a job submitted from it. It keeps what tells
// the commands where their scheduler is, and what a user wishes for their jobs.
func Scrub(env []string) []string {
	set := map[string]bool{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		set[name] = true
	}
	inAny := false
	in := map[string]bool{}
	for _, d := range Dialects {
		in[d.Name] = !slices.ContainsFunc(d.environment.inside, func(name string) bool { return !set[name] })
		inAny = inAny || in[d.Name]
	}
	var kept []string
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		leaks := inAny && name == "TMPDIR" // it goes with the job
		keeps := false
		for _, d := range Dialects {
			leaks = leaks || d.environment.leaks(name, in[d.Name], inAny)
			// An empty one says nothing, and Slurm's commands fail for want of a cluster.
			leaks = leaks || value == "" && slices.Contains(d.environment.where, name)
			keeps = keeps || value != "" && slices.Contains(d.environment.keep, name)
		}
		if keeps || !leaks {
			kept = append(kept, kv)
		}
	}
	return kept
}

// leaks reports whether a variable is to go: inside is whether this process runs in
// a job of the scheduler's, and inAny whether in one of any.
func (e *environment) leaks(name string, inside, inAny bool) bool {
	begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.ContainsFunc(e.prefixes, begins) || slices.Contains(e.drop, name) ||
		inAny && slices.ContainsFunc(e.wishes, begins) || inside && slices.Contains(e.bare, name)
}
