// Package plan says what a launcher will be asked for. A plan is a value: it is made
// of a config, shown, sent to the process that carries it out, and rendered, and the
// same plan makes the same bytes.
//
// Each kind of launcher is a file of its own: its settings, how they become a plan,
// and what a person would paste to do the same. Package fleet carries plans out.
package plan

import (
	"encoding/json"
	"fmt"
	"time"

	"muster/internal/remote"
)

// Plan is what one launcher will be asked for.
type Plan struct {
	Profile  string
	Launcher string
	Config   string        // the file in which the launcher stands, from the root; empty if it is none
	Poll     time.Duration // between two questions how its workers stand
	Whose    Whose
	Worker   Worker
	Muster   string // the program that workers run where it is there already; empty is a copy
	// Names are what the dispatcher has minted, one for each of the kind's places.
	Names []Names
	Kind  Kind
}

// Whose says whose the workers are that a launcher starts.
type Whose uint8

const (
	// Own workers are muster's, started by muster's own command line.
	Own Whose = iota
	// Wrapped workers are muster's, started by a worker_command that speaks of
	// worker.command, worker.argv or worker.join_file.
	Wrapped
	// Foreign workers are other people's: they need no dispatcher, and nobody waits
	// for them.
	Foreign
)

// Kind is a way of starting workers. Its concrete types are Cluster, SSH, HTTP,
// Workbench, Slurmrestd and Command.
type Kind interface {
	// Tag is what plans and records call the kind.
	Tag() string
	// Way says in words how its workers are started: "by ..." or "in ...".
	Way() string
	// Places are where its workers are started. Each has a launch of its own.
	Places() []Place
	// Parts are its submissions, in order.
	Parts() []Part
	// submissions are what a person would run for the plan; names as in Plan.
	submissions(p *Plan) ([]*Submission, error)
	// whole checks that a plan of the kind, which comes from elsewhere, has what it
	// needs.
	whole(p *Plan) error
}

// Place is a machine on which commands of a launch are run: this one, or one that is
// reached by SSH.
type Place struct {
	Login remote.Login
	// Tunnel says that workers dial the machine's own loopback.
	Tunnel bool
	// Relayed says that workers reach the dispatcher by way of the machine, so that
	// nobody has to reach this one.
	Relayed bool
	// Sent says that the join string goes out with what starts its workers, where others
	// may read it. So it is minted with the names, and admits each identity once.
	Sent bool
}

// Here reports whether the place is this machine.
func (p Place) Here() bool { return p.Login.Target.Host == "" }

// Part is one submission: a job, a job array, or the workers of one machine.
type Part struct {
	Place   int // index of its place
	Indices []int
	Array   bool // its elements are an array's; else the only index of a job is 0
}

// Names are what has been minted for the workers of one place.
type Names struct {
	Launch   string `json:"launch"`           // its name, unique; files are called after it
	Unique   string `json:"unique,omitempty"` // what makes names of jobs unique; empty where they need not be
	JoinFile string `json:"join_file"`        // where workers read how to join, on the place's machine
	Output   string `json:"output,omitempty"` // the folder for what jobs print there
	Muster   string `json:"muster"`           // the program there
	URL      string `json:"url,omitempty"`    // which workers dial
	Port     string `json:"port,omitempty"`   // at which a tunnel ends
	Join     string `json:"join,omitempty"`   // the join string, a secret, if it is sent

	// Of a plan that is made again for one of several workers that were started one by
	// one: which it was, from 1, and of how many. 0 is what the plan says.
	Index int `json:"index,omitempty"`
	Of    int `json:"of,omitempty"`
}

// plainNames are Names as encoding/json takes them.
type plainNames Names

// MarshalJSON writes names with paths of any bytes.
func (n Names) MarshalJSON() ([]byte, error) {
	return json.Marshal(strung(plainNames(n), escape))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Names) UnmarshalJSON(b []byte) error {
	var p plainNames
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*n = Names(strung(p, unescape))
	return nil
}

// Workers returns how many workers the plan starts.
func (p *Plan) Workers() int {
	n := 0
	for _, part := range p.Kind.Parts() {
		n += len(part.Indices)
	}
	return n
}

// Submissions are what a person would run to do what the plan says. It needs names.
func (p *Plan) Submissions() ([]*Submission, error) {
	if have, want := len(p.Names), len(p.Kind.Places()); have != want {
		return nil, p.misnamed(have, want)
	}
	return p.Kind.submissions(p)
}

func (p *Plan) misnamed(have, want int) error {
	return fmt.Errorf("launcher %s: %d names for %d places", p.Launcher, have, want)
}

// Logins are the machines that have to be logged in to before the plan is carried
// out by muster.
func (p *Plan) Logins() []remote.Login { return logins(p.Kind, p.Whose) }

func logins(k Kind, whose Whose) []remote.Login {
	if _, ssh := k.(*SSH); ssh && whose == Foreign {
		return nil // OpenSSH's client logs in
	}
	var list []remote.Login
	for _, place := range k.Places() {
		if !place.Here() {
			list = append(list, place.Login)
		}
	}
	return list
}

// Relayed reports whether no worker has to reach this machine.
func (p *Plan) Relayed() bool {
	for _, place := range p.Kind.Places() {
		if !place.Relayed {
			return false
		}
	}
	return true
}

// text is a plan's JSON, on its way from the command that was typed, which has
// evaluated the config, to the process that carries it out. Spec is as the kind says.
type text struct {
	Profile  string          `json:"profile"`
	Launcher string          `json:"launcher"`
	Config   string          `json:"config,omitempty"`
	Poll     time.Duration   `json:"poll"`
	Whose    Whose           `json:"whose,omitempty"`
	Worker   Worker          `json:"worker"`
	Muster   string          `json:"muster,omitempty"`
	Names    []Names         `json:"names,omitempty"`
	Kind     string          `json:"kind"`
	Spec     json.RawMessage `json:"spec"`
}

// MarshalJSON writes the evaluated plan, with its secrets.
func (p *Plan) MarshalJSON() ([]byte, error) {
	spec, err := json.Marshal(strung(p.Kind, escape))
	if err != nil {
		return nil, err
	}
	return json.Marshal(strung(text{p.Profile, p.Launcher, p.Config, p.Poll, p.Whose, p.Worker, p.Muster, p.Names, p.Kind.Tag(), spec}, escape))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Plan) UnmarshalJSON(b []byte) error {
	var t text
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	k, known := tagged(t.Kind)
	if !known {
		return fmt.Errorf("a plan of the kind %q, which is not known here", t.Kind)
	}
	if err := json.Unmarshal(t.Spec, k); err != nil {
		return err
	}
	t, k = strung(t, unescape), strung(k, unescape)
	q := Plan{t.Profile, t.Launcher, t.Config, t.Poll, t.Whose, t.Worker, t.Muster, t.Names, k}
	if err := q.whole(); err != nil {
		return err
	}
	*p = q
	return nil
}

// whole checks that a plan that comes from elsewhere has what it needs.
func (p *Plan) whole() error {
	if p.Whose > Foreign {
		return fmt.Errorf("launcher %s: a plan of workers of the kind %d, which is not known here", p.Launcher, p.Whose)
	}
	if err := p.Kind.whole(p); err != nil { // it bounds what is counted here
		return err
	}
	if have, want := len(p.Names), len(p.Kind.Places()); have != 0 && have != want {
		return p.misnamed(have, want)
	}
	return nil
}

// Tunnelled reports whether workers dial the loopback of their own machine.
func (p *Plan) Tunnelled() bool {
	for _, place := range p.Kind.Places() {
		if place.Tunnel {
			return true
		}
	}
	return false
}
