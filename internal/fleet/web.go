package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/plan"
	"muster/internal/terminal"
)

// asked is who is asked over HTTP, for which launcher, and how: a config that was changed
// counts from its next launch on.
type asked struct {
	launcher, service string
	plan.Web
}

// web is how a service is asked, by all jobs of a launcher.
type web struct {
	client *mhttp.Client

	mu      sync.Mutex // guards all below
	envs    mhttp.Answer
	envsAt  time.Time // when Posit Workbench last answered; zero before
	version string    // of slurmrestd's API; empty is not known
}

// web returns how a service is asked.
func (f *Fleet) web(who asked) *web {
	f.lock()
	defer f.mu.Unlock()
	one := f.services[who]
	if one == nil {
		one = &web{client: &mhttp.Client{CA: who.CA, Timeout: who.Timeout, Say: f.Say}}
		f.services[who] = one
	}
	return one
}

// apart is what backends have in common that start workers one by one, on machines of
// which nothing is known here.
type apart struct {
	f        *Fleet
	launcher string
	service  string // as messages call it
}

// fleetOf returns the fleet of a place that has to be this machine.
func fleetOf(at place, r *Record) (*Fleet, error) {
	h, is := at.(*here)
	if !is {
		return nil, fmt.Errorf("launch record %s: what it is about is started from here, and not from another machine", r.path())
	}
	return h.f, nil
}

// how returns how a record's job was asked for. For a record of another process that is
// planned again from its config.
func (a apart) how(ctx context.Context, r *Record) (k plan.Kind, part int, err error) {
	a.f.lock()
	k, part = r.how, r.part
	a.f.mu.Unlock()
	if k != nil {
		return k, part, nil
	}
	if a.f.Reopen == nil {
		return nil, 0, hopeless{errors.New("its config is not known here")}
	}
	p, err := a.f.Reopen(ctx, r)
	if err != nil {
		return nil, 0, hopeless{fmt.Errorf("read in its config how it is ended: %w", err)}
	}
	now := &Record{Kind: p.Kind.Tag()}
	kinds[now.Kind].address(p.Kind, now)
	switch {
	case now.Kind != r.Kind:
		return nil, 0, hopeless{fmt.Errorf("launcher %s in %s is of another kind now: write it there as it was", r.Launcher, r.Config)}
	case now.Kind != (&plan.Command{}).Tag() && now.Service != r.Service: // there its id is another's; a command's name says nothing of where
		return nil, 0, hopeless{fmt.Errorf("launcher %s in %s speaks of another service now, %s: write it there as it was", r.Launcher, r.Config, now.Service)}
	}
	a.f.lock()
	r.how = p.Kind // an expression may run a command, or ask a person
	a.f.mu.Unlock()
	return p.Kind, 0, nil
}

func (a apart) element(r *Record, index int) string { return plan.Element(r.Launch, index) }

func (a apart) called(r *Record, index int) string {
	if r.Theirs != "" {
		return "job " + r.Theirs + " of " + a.service
	}
	return "worker " + a.element(r, index) + " by " + a.service
}

func (a apart) whole(r *Record) string {
	if r.Theirs != "" {
		return "job " + r.Theirs + " of " + a.service + " may still run"
	}
	return "what launcher " + r.Launcher + " has started as " + r.Launch + " may still run"
}

func (a apart) ended(r *Record, index int, raw string) string {
	return a.called(r, index) + " ended (" + raw + ") and its worker never joined"
}

func (a apart) reason(said string) string { return said }

func (a apart) String() string { return a.service }

// fate says what became of an element, as far as the word for how it stands tells.
func (a apart) fate(r *Record, e hpc.Element) (Fate, bool) {
	name := a.called(r, e.Index)
	if e.Raw == unseen {
		return Fate{}, true // nobody will ever say more
	}
	switch e.State {
	case hpc.Unknown:
		return Fate{}, false
	case hpc.Pending:
		return Fate{hpc.EndPreempted, name + " waits again"}, true
	case hpc.Running:
		return Fate{e.End, name + " still runs, without its worker"}, false
	}
	return Fate{e.End, name + " ended (" + e.Raw + ")"}, true
}

// maxID bounds what a service calls a job, in bytes.
const maxID = 256

// checkID refuses what is no name of a job.
func checkID(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return errors.New("it is empty")
	case len(id) > maxID:
		return fmt.Errorf("it has %d bytes, and %d are possible", len(id), maxID)
	case strings.IndexFunc(id, unicode.IsControl) >= 0:
		return errors.New("it has a line break or another control character")
	}
	return nil
}

// knownWords are words that systems have for how something stands, in capitals and
// without _, - and blanks.
var knownWords = []struct {
	words string
	state hpc.State
	end   hpc.End
}{
	{"PENDING PD QUEUED Q QUEUEING WAITING WAIT SUBMITTED ACCEPTED CREATED CREATING NEW INIT STARTING SCHEDULED SCHEDULING SCHED PROVISIONING PEND HELD HOLD IDLE DEPEND PRIORITY REQUEUED", hpc.Pending, 0},
	{"RUNNING RUN R ACTIVE STARTED UP INPROGRESS PROCESSING EXECUTING CONFIGURING CF COMPLETING CG CLEANUP SUSPENDED S PAUSED", hpc.Running, 0},
	{"COMPLETED COMPLETE CD DONE SUCCEEDED SUCCESS SUCCESSFUL FINISHED FAILED FAILURE F EXITED EXIT ERROR ENDED STOPPED TERMINATED DEAD INACTIVE CRASHED C", hpc.Ended, hpc.EndOrdinary},
	{"CANCELLED CANCELED CA CANCELLING ABORTED KILLED REMOVED DELETED REVOKED X", hpc.Ended, hpc.EndCancelled},
	{"PREEMPTED PR EVICTED", hpc.Ended, hpc.EndPreempted},
	{"TIMEOUT TO TIMEDOUT DEADLINE DL DEADLINEEXCEEDED", hpc.Ended, hpc.EndWalltime},
	{"OUTOFMEMORY OOM OOMKILLED", hpc.Ended, hpc.EndMemory},
	{"NODEFAIL NF BOOTFAIL BF NODELOST", hpc.Ended, hpc.EndNode},
}

// says reads the word for how a record's job stands. One that is not known is told the
// user, once.
func (a apart) says(r *Record, word string, own plan.States) hpc.Element {
	e := stands(word, own)
	if e.State != hpc.Unknown {
		return e
	}
	e.Reason = fmt.Sprintf("it stands at %q, which is no word that is known: pending, running or ended of launcher %s says what it means", terminal.Safe(word), a.launcher)
	a.f.lock()
	told := a.f.strange[a.launcher+"\x00"+word]
	a.f.strange[a.launcher+"\x00"+word] = true
	a.f.mu.Unlock()
	if !told {
		a.f.Say("job %s of %s: %s", r.theirs(), a.service, e.Reason)
	}
	return e
}

// stands reads the word for how something stands.
func stands(word string, own plan.States) hpc.Element {
	e := hpc.Element{Raw: word}
	for _, group := range []struct {
		words []string
		state hpc.State
	}{{own.Pending, hpc.Pending}, {own.Running, hpc.Running}, {own.Ended, hpc.Ended}} {
		for _, w := range group.words {
			if strings.EqualFold(w, word) {
				if e.State = group.state; e.State == hpc.Pending {
					e.Reason = word // it may say more than that it waits
				}
				return e
			}
		}
	}
	plain := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToUpper(word))
	for _, known := range knownWords {
		if plain != "" && slices.Contains(strings.Fields(known.words), plain) {
			e.State, e.End = known.state, known.end
		}
	}
	return e
}

// elements says of all elements of a record the same.
func elements(r *Record, e hpc.Element) []hpc.Element {
	indices, err := r.indices()
	if err != nil {
		return nil
	}
	var list []hpc.Element
	for _, index := range indices {
		e.Job, e.Index = r.ID, index
		list = append(list, e)
	}
	return list
}

// unanswered is the Raw of an element about which the question failed: why is its
// Reason.
const unanswered = "no answer"

// askEach asks about records one by one, so many at a time. It fails if all fail. What
// fails beside others is unanswered.
func askEach(records []*Record, atOnce int, ask func(r *Record) ([]hpc.Element, error)) ([]hpc.Element, error) {
	answers := make([][]hpc.Element, len(records))
	failed := each(numbers(len(records)), atOnce, func(i int) (err error) {
		answers[i], err = ask(records[i])
		return err
	})
	var list []hpc.Element
	var bad []error
	for i, r := range records {
		if failed[i] != nil {
			bad = append(bad, failed[i])
			answers[i] = elements(r, hpc.Element{Raw: unanswered, Reason: failed[i].Error()})
		}
		list = append(list, answers[i]...)
	}
	if len(bad) == len(records) && len(bad) > 0 {
		return nil, bad[0]
	}
	return list, nil
}
