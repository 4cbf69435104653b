package fleet

import (
	"context"
	"maps"
	"path"
	"slices"
	"time"
)

const (
	// linger is how long a job is known after its last element has ended: a dispatcher
	// may yet ask what became of a worker.
	linger = 2 * time.Minute
	// mostKept is of how many launches with workers that never joined the output is
	// kept.
	mostKept = 10
)

// kept is what is left of a job that is forgotten: its standing, and the folder into
// which the user was told to look.
type kept struct {
	JobStanding
	at     place
	output string // empty if another job's entry has it
}

// files are those of some that the launch has.
func (l *launch) files(some ...string) []string {
	return slices.DeleteFunc(some, func(s string) bool { return s == "" })
}

// sweep forgets the jobs whose elements have all ended some time ago.
func (f *Fleet) sweep(ctx context.Context) {
	now := time.Now()
	f.lock()
	var ended []*job
	for _, j := range f.jobs {
		if j.ending == 0 && !j.ended.IsZero() && now.Sub(j.ended) >= linger {
			ended = append(ended, j)
		}
	}
	f.mu.Unlock()
	if len(ended) > 0 {
		f.forget(ctx, ended)
		f.unkeep(ctx, mostKept, "")
		f.release()
		f.dropStays()
	}
}

// Forgo forgets the jobs that nobody can be told to end and whose workers nobody waits
// for, and returns how many workers they have.
func (f *Fleet) Forgo(ctx context.Context) (workers int) {
	var endless []*job
	for _, j := range f.all() {
		if j.Endless && !j.waited() {
			endless = append(endless, j)
			workers += j.Workers
		}
	}
	f.forget(ctx, endless)
	return workers
}

// release ends the links that are not needed any more.
func (f *Fleet) release() {
	if f.Sites != nil {
		f.Sites.Release()
	}
	f.lock()
	defer f.mu.Unlock()
	places, endpoints := map[place]bool{}, map[*endpoint]bool{}
	for _, l := range f.launches {
		places[l.at] = true
	}
	for _, j := range f.jobs {
		endpoints[j.endpoint] = true
	}
	maps.DeleteFunc(f.followed, func(at there, _ bool) bool { return !places[at] })
	maps.DeleteFunc(f.endpoints, func(_ backend, e *endpoint) bool { return e.users == 0 && !e.inquiring && !endpoints[e] })
}

// forget forgets jobs that have ended, with their records. What a launch has goes with
// the last of its records, those of other processes included.
func (f *Fleet) forget(ctx context.Context, jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	over := f.last(jobs)
	for _, l := range over {
		l.cred.End() // before the fleet no longer knows how many are expected
	}
	f.drop(jobs)
	alone := alone(jobs)
	for _, l := range over {
		if alone[l.name] {
			f.tidy(ctx, l, f.spare(l)...)
		}
	}
	for _, j := range jobs {
		j.erase()
	}
}

// last returns the launches that have no job beside these, and get no other.
func (f *Fleet) last(jobs []*job) (over []*launch) {
	f.lock()
	defer f.mu.Unlock()
	n := map[*launch]int{}
	for _, j := range jobs {
		if n[j.launch]++; n[j.launch] >= len(j.launch.jobs) && !j.launch.submitting {
			over = append(over, j.launch)
		}
	}
	return over
}

// drop takes jobs out of the fleet. How those ended that had trouble is kept.
func (f *Fleet) drop(jobs []*job) {
	gone := map[*job]bool{}
	launches := map[*launch]bool{}
	f.lock()
	defer f.mu.Unlock()
	for _, j := range jobs {
		gone[j], launches[j.launch] = true, true
		if j.pointed && !j.takenBack {
			f.kept = append(f.kept, kept{JobStanding: j.standing(), at: j.launch.at})
		}
	}
	is := func(j *job) bool { return gone[j] }
	f.jobs = slices.DeleteFunc(f.jobs, is)
	for l := range launches {
		l.jobs = slices.DeleteFunc(l.jobs, is)
		maps.DeleteFunc(l.elements, func(_ string, m member) bool { return gone[m.j] })
		if len(l.jobs) == 0 && !l.submitting {
			delete(f.launches, l.name)
		}
	}
}

// alone returns the launches that have no record beside those of these jobs.
func alone(jobs []*job) map[string]bool {
	byDir := map[string]map[string]bool{} // the launches of a folder
	mine := map[string]int{}
	for _, j := range jobs {
		if byDir[j.dir] == nil {
			byDir[j.dir] = map[string]bool{}
		}
		byDir[j.dir][j.Launch] = true
		mine[j.Launch]++
	}
	last := map[string]bool{}
	for dir, launches := range byDir {
		found, err := siblings(dir, launches)
		for launch := range launches {
			last[launch] = err == nil && len(found[launch]) <= mine[launch]
		}
	}
	return last
}

// spare returns the files of a launch that nobody needs any more. The output folder is
// left if a scheduler may yet put something into it, and for a while if the user has
// been told to look there.
func (f *Fleet) spare(l *launch) []string {
	if f.leaves(l) {
		return l.files(l.joinFile) // the sweep of runs that are over removes it
	}
	f.lock()
	defer f.mu.Unlock()
	for i := range f.kept {
		if f.kept[i].Launch == l.name {
			f.kept[i].output = l.output
			return l.files(l.joinFile)
		}
	}
	return l.files(l.joinFile, l.output)
}

// leaves reports whether a launch's output folder is left for a scheduler.
func (f *Fleet) leaves(l *launch) bool {
	f.lock()
	defer f.mu.Unlock()
	if l.delivering {
		f.left[l.at] = true
	}
	return l.delivering
}

// tidy removes files of a launch.
func (f *Fleet) tidy(ctx context.Context, l *launch, files ...string) {
	if len(files) == 0 {
		return
	}
	if err := l.at.remove(ctx, files...); err != nil {
		f.Log.Warn("files of a launch are left", "launch", l.name, "error", err)
	}
	l.at.prune(ctx, path.Dir(files[0]))
}

// unkeep removes what has been kept of jobs that are forgotten but of the newest.
func (f *Fleet) unkeep(ctx context.Context, most int, profile string) {
	f.lock()
	var old []kept
	n := 0
	for i := len(f.kept) - 1; i >= 0; i-- {
		k := f.kept[i]
		if profile != "" && k.Profile != profile {
			continue
		}
		if n++; n > most {
			old = append(old, k)
			f.kept = slices.Delete(f.kept, i, i+1)
		}
	}
	f.mu.Unlock()
	for _, k := range old {
		if k.output != "" {
			k.at.remove(ctx, k.output)
			k.at.prune(ctx, path.Dir(k.output))
		}
	}
}
