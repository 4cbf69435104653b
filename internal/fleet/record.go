package fleet

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/ssh/relay"
)

// Record says what was submitted, or is about to be, so that it can be taken back after
// a crash too. It is written before the submission and gets the job's id after it; it
// goes when the endpoint says that the job has.
type Record struct {
	Name     string `json:"name"`   // of its file: the launch's, with -2 for the second job and so on
	Launch   string `json:"launch"` // its name
	Kind     string `json:"kind"`   // of launcher, as configs call it
	Launcher string `json:"launcher"`
	Profile  string `json:"profile,omitempty"`

	Scheduler string   `json:"scheduler,omitempty"` // none by SSH
	Command   []string `json:"command,omitempty"`   // that submits; empty is the scheduler's own
	// Where is what the environment said of where the scheduler is; empty if it is on
	// another machine, whose environment is not known.
	Where []string     `json:"where,omitempty"`
	Login remote.Login `json:"login,omitzero"` // of the machine where it was made; zero is this one

	// Config is the file in which the launcher stands, if it says how a job is ended.
	// What that takes, secrets among it, is in no record: another process reads it there.
	Config  string `json:"config,omitempty"`
	Service string `json:"service,omitempty"` // who is asked over HTTP
	Dir     string `json:"dir,omitempty"`     // in which the launcher's commands are run
	Blind   bool   `json:"blind,omitempty"`   // nobody can be asked how the job stands
	Endless bool   `json:"endless,omitempty"` // nobody can be told to end it
	// Theirs is what a service, or another system, calls it; empty if that is its ID, or
	// is not known.
	Theirs string `json:"theirs,omitempty"`
	Said   string `json:"said,omitempty"` // what the command that started it has printed
	// Index is which it is, from 1, of so many workers that were started one by one.
	Index int `json:"index,omitempty"`
	Of    int `json:"of,omitempty"`

	Job     string    `json:"job,omitempty"`   // the job's own name, unique; empty if muster gave it none
	ID      string    `json:"id"`              // empty: it may have been submitted
	Array   string    `json:"array,omitempty"` // the indices of its elements; empty is a plain job
	Workers int       `json:"workers"`
	Stdout  string    `json:"stdout,omitempty"` // where the user has what it prints go; empty is the launch's Output
	Sent    time.Time `json:"sent"`
	// Poll is how often its endpoint is asked how jobs stand.
	Poll time.Duration `json:"poll,omitempty"`
	// Processes are workers that were started by SSH, in order, or the command that stays.
	Processes []Process `json:"processes,omitempty"`

	// What goes with the launch's last record on the machine where it was made; empty
	// if there is none.
	JoinFile string `json:"join_file,omitempty"`
	Output   string `json:"output,omitempty"`

	dir string

	// In the process that started it, how that was asked for, and what a service has
	// answered.
	how    plan.Kind
	part   int
	answer mhttp.Answer
	note   string // what the user is to know of it
	// cancelled says that a service has taken an order to end it. Guarded by Fleet.mu.
	cancelled bool
}

// theirs is what the job's endpoint calls it.
func (r *Record) theirs() string { return cmp.Or(r.Theirs, r.ID) }

// Process is a worker that was started by SSH, or a command that stays, and where: another login may lead to
// another machine of the same name, or to the same after it was started anew.
type Process struct {
	relay.Process
	Host string `json:"host"`
	Boot string `json:"boot,omitempty"`
}

// unique returns what makes names unique: six letters and digits.
func unique() string {
	var b [4]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:6]
}

// recordName is the name of the record of a launch's n-th job, from 0.
func recordName(launch string, n int) string {
	if n == 0 {
		return launch
	}
	return launch + "-" + strconv.Itoa(n+1)
}

// isOf reports whether a record of this name is one of the launch's.
func isOf(name, launch string) bool {
	rest, is := strings.CutPrefix(name, launch)
	if !is || rest == "" {
		return is
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "-"))
	return err == nil && rest == "-"+strconv.Itoa(n)
}

func (r *Record) path() string { return filepath.Join(r.dir, r.Name+ending) }

const ending = ".json" // of a record's file

// write keeps the record, in one step.
func (r *Record) write() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(r.dir, r.Name+".new")
	err = os.WriteFile(tmp, append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(tmp, r.path())
	}
	if err != nil {
		return fmt.Errorf("write the launch record: %w", err)
	}
	return nil
}

// erase removes the record.
func (r *Record) erase() { os.Remove(r.path()) }

// array writes indices as an array, which is compact where they follow each other.
func array(indices []int) string {
	a := &hpc.Array{}
	for i := 0; i < len(indices); {
		s := hpc.Span{First: indices[i], Last: indices[i], Step: 1}
		if i+1 < len(indices) {
			s.Step = max(indices[i+1]-indices[i], 1)
		}
		for i++; i < len(indices) && indices[i] == s.Last+s.Step; i++ {
			s.Last = indices[i]
		}
		a.Spans = append(a.Spans, s)
	}
	return a.String()
}

// indices are those of the job's elements.
func (r *Record) indices() ([]int, error) {
	if r.Array == "" {
		return []int{0}, nil
	}
	a, err := hpc.ParseArray(r.Array)
	if err != nil {
		return nil, fmt.Errorf("launch record %s: %w", r.path(), err)
	}
	return a.Expand(), nil
}

// Records reads the launch records in dir; none if there is no dir.
func Records(dir string) ([]*Record, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read launch records: %w", err)
	}
	var list []*Record
	var bad []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ending {
			continue
		}
		r, err := read(dir, e)
		if err != nil {
			bad = append(bad, fmt.Errorf("launch record %s: %w; muster cannot look for its job: its name ends as the file's does, and when it is gone the file can be removed", filepath.Join(dir, e.Name()), err))
			continue
		}
		list = append(list, r)
	}
	return list, errors.Join(bad...)
}

func read(dir string, e fs.DirEntry) (*Record, error) {
	r, file := &Record{dir: dir}, e.Name()
	if !e.Type().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err == nil && (r.Name+ending != file || !isOf(r.Name, r.Launch) || !owns(r.Launch, r.JoinFile, r.Output)) {
		err = errors.New("it is not what its name says")
	}
	return r, err
}

// siblings returns the names of the records in a folder that belong to some launches,
// by launch.
func siblings(dir string, launches map[string]bool) (map[string][]string, error) {
	found := map[string][]string{}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ending)
		if !is {
			continue
		}
		// The launch's name is the record's, or that without its number.
		first := name[:max(strings.LastIndexByte(name, '-'), 0)]
		for _, launch := range []string{name, first} {
			if launches[launch] && isOf(name, launch) {
				found[launch] = append(found[launch], name)
			}
		}
	}
	return found, err
}
