package testbed

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Double is what the commands of a scheduler do that cannot be installed here:
// PBS Pro ("pbs"), Torque ("torque") and LSF ("lsf"). They take what the real ones
// take, refuse what they refuse, in their words and with their exit status, and
// run the jobs they have taken, four of each at once, with the environment,
// directory, output and signals that jobs get there.
//
// $DOUBLE_DIR holds the state. A process of its own runs each job; there is no
// server. Two more commands are of the double alone: run SEQ runs a job, and
// preload NAME [STATE] adds a job of the user's own that no process runs, so that
// tests have one in every answer. A job of another user is always there.
//
// Times are shorter than real ones, and variables set them: DOUBLE_KILL_DELAY and
// those that each scheduler's file names.
func Double(kind string, args []string) int {
	d := newDouble(kind, os.Getenv("DOUBLE_DIR"))
	if len(args) == 0 || d == nil {
		return say(2, "double: no command")
	}
	if args[0] == "run" {
		return d.run(args[1])
	}
	unlock := d.lock()
	defer unlock()
	if args[0] == "preload" {
		return d.preload(args[1:])
	}
	command := d.commands()[args[0]]
	if command == nil {
		return say(127, "%s: command not found", args[0])
	}
	return command(args[1:])
}

// DoubleCommands lists the commands of a kind that Double knows, preload among
// them; none for a kind that it does not.
func DoubleCommands(kind string) []string {
	d := newDouble(kind, "")
	if d == nil {
		return nil
	}
	return append(slices.Sorted(maps.Keys(d.commands())), "preload")
}

// scheduler is what each kind does in its own way.
type scheduler interface {
	// commands are what a user may type.
	commands() map[string]func([]string) int
	// first is the number of the first job.
	first() int
	// id writes the id of a job, or of its element i.
	id(j *doubleJob, i int, element bool) string
	// allowed reports whether a job may have this name.
	allowed(name string) bool
	// environment is what the element i has beyond the job's own.
	environment(j *doubleJob, i int) []string
	// ending is how a running element is ended.
	ending() ending
	// deliver puts the output of an element where it was asked for.
	deliver(j *doubleJob, i int)
	// remembered reports whether an element that ended at a time is still listed.
	// A job is over when its last element has ended.
	remembered(ended time.Time, over bool, last time.Time) bool
}

// ending is how a scheduler ends what runs.
type ending struct {
	signals  []syscall.Signal
	delay    time.Duration             // between two signals
	base     int                       // the exit status of who died of a signal is more by this
	walltime int                       // the exit status at the walltime, 0 as the signal says
	said     func(j *doubleJob) string // at the walltime, to the job's stderr
}

type double struct {
	scheduler
	dir string
}

func newDouble(kind, dir string) *double {
	d := &double{dir: dir}
	switch kind {
	case "pbs":
		d.scheduler = pbsPro{d}
	case "torque":
		d.scheduler = torque{d}
	case "lsf":
		d.scheduler = lsf{d}
	default:
		return nil
	}
	return d
}

// doubleJob is a job that was taken.
type doubleJob struct {
	Seq      int
	User     string
	Name     string
	Indices  []int // nil is a plain job
	Throttle int
	Walltime time.Duration
	Queue    string
	Output   string
	Error    string
	Join     bool // stderr goes with stdout
	Direct   bool // output is written straight to its place
	Held     bool
	Env      []string
	Dir      string // where it starts
	From     string // where it was submitted
	Shell    string
	Fixed    string // the state of a job that no process runs
}

func (d *double) lock() func() {
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	return func() { f.Close() }
}

// say prints a line to stderr and returns the exit status.
func say(code int, format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return code
}

// setting reads a time from the environment.
func setting(name string, usual time.Duration) time.Duration {
	if t, err := time.ParseDuration(os.Getenv(name)); err == nil {
		return t
	}
	return usual
}

func me() string {
	u, err := user.Current()
	if err != nil {
		panic(err)
	}
	return u.Username
}

func wd() string {
	dir, _ := os.Getwd()
	return dir
}

// accept keeps a job and starts what runs it.
func (d *double) accept(j *doubleJob, script []byte) {
	taken, _ := filepath.Glob(filepath.Join(d.dir, "jobs", "*"))
	j.Seq, j.User = d.first()+len(taken), me()
	dir := d.jobDir(j.Seq)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(err)
	}
	d.write(filepath.Join(dir, "job.json"), j)
	os.WriteFile(filepath.Join(dir, "script"), script, 0o700)
	state := "Q"
	if j.Held {
		state = "H"
	}
	for _, i := range j.indices() {
		d.set(j, i, state)
	}
	exe, _ := os.Executable()
	cmd := exec.Command(exe, "run", strconv.Itoa(j.Seq))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

func (d *double) write(path string, j *doubleJob) {
	b, err := json.Marshal(j)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// Jobs that no process runs have numbers from here on.
const preloaded = 7000

// preload adds a job of the user's own: NAME [STATE].
func (d *double) preload(args []string) int {
	if len(args) < 1 || len(args) > 2 || !d.allowed(args[0]) {
		return say(2, "usage: preload NAME [Q|R], with a name that the scheduler takes")
	}
	j := &doubleJob{User: me(), Name: args[0], Fixed: "Q"}
	if len(args) == 2 {
		j.Fixed = args[1]
	}
	dir := filepath.Join(d.dir, "preloaded")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(err)
	}
	there, _ := filepath.Glob(filepath.Join(dir, "*"))
	j.Seq = preloaded + 1 + len(there)
	d.write(filepath.Join(dir, strconv.Itoa(j.Seq)+".json"), j)
	fmt.Println(d.id(j, 0, false))
	return 0
}

// jobs lists all jobs, of all users, that are remembered.
func (d *double) jobs() []*doubleJob {
	list := []*doubleJob{{Seq: preloaded, User: "alice", Name: "theirs", Fixed: "R"}}
	paths, _ := filepath.Glob(filepath.Join(d.dir, "jobs", "*", "job.json"))
	more, _ := filepath.Glob(filepath.Join(d.dir, "preloaded", "*.json"))
	for _, p := range append(paths, more...) {
		j := &doubleJob{}
		b, _ := os.ReadFile(p)
		if json.Unmarshal(b, j) == nil && len(d.listed(j)) > 0 {
			list = append(list, j)
		}
	}
	slices.SortFunc(list, func(a, b *doubleJob) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}

func (j *doubleJob) indices() []int {
	if j.Indices == nil {
		return []int{0}
	}
	return j.Indices
}

// listed returns the elements of a job that are remembered.
func (d *double) listed(j *doubleJob) []int {
	var list []int
	over, last := true, time.Time{}
	stands := map[int]stand{}
	for _, i := range j.indices() {
		s := d.state(j, i)
		stands[i] = s
		over = over && s.letter == "X"
		if s.since.After(last) {
			last = s.since
		}
	}
	for _, i := range j.indices() {
		if stands[i].letter != "X" || d.remembered(stands[i].since, over, last) {
			list = append(list, i)
		}
	}
	return list
}

func (d *double) jobDir(seq int) string {
	return filepath.Join(d.dir, "jobs", fmt.Sprintf("%06d", seq))
}

// stand is how an element stands: Q waits, H is held, R runs, E has ended and its
// output is not yet delivered, X has ended.
type stand struct {
	letter string
	number int    // R the process, E and X the exit status
	why    string // E and X: walltime, deleted, or empty
	since  time.Time
}

func (d *double) statePath(j *doubleJob, i int) string {
	return filepath.Join(d.jobDir(j.Seq), strconv.Itoa(i)+".state")
}

// set keeps how an element stands, as "R 1234" or "X 271 deleted".
func (d *double) set(j *doubleJob, i int, state string) {
	p := d.statePath(j, i)
	err := os.MkdirAll(filepath.Dir(p), 0o755)
	if err == nil {
		err = os.WriteFile(p+".new", []byte(state), 0o600)
	}
	if err == nil {
		err = os.Rename(p+".new", p)
	}
	if err != nil {
		panic(err)
	}
}

func (d *double) state(j *doubleJob, i int) stand {
	b, err := os.ReadFile(d.statePath(j, i))
	if err != nil {
		return stand{letter: cmp.Or(j.Fixed, "Q")}
	}
	f := append(strings.Fields(string(b)), "", "", "")
	s := stand{letter: f[0], why: f[2]}
	s.number, _ = strconv.Atoi(f[1])
	if info, err := os.Stat(d.statePath(j, i)); err == nil {
		s.since = info.ModTime()
	}
	return s
}

// ended reports whether no element waits or runs.
func (d *double) ended(j *doubleJob) bool {
	return !slices.ContainsFunc(j.indices(), func(i int) bool { return d.state(j, i).letter != "X" })
}

// begun reports whether an element runs or has run.
func (d *double) begun(j *doubleJob) bool {
	return slices.ContainsFunc(j.indices(), func(i int) bool { return !slices.Contains([]string{"Q", "H"}, d.state(j, i).letter) })
}

// deleted is the file that says that an element is to be deleted.
func (d *double) deleted(seq, index int) string {
	return filepath.Join(d.jobDir(seq), strconv.Itoa(index)+".delete")
}

// end deletes an element: what waits is gone, what runs is ended by its guard.
func (d *double) end(j *doubleJob, i int) {
	switch s := d.state(j, i); {
	case s.letter == "Q", s.letter == "H", j.Fixed != "" && s.letter == "R":
		d.set(j, i, "X 271 deleted")
	case s.letter == "R":
		os.WriteFile(d.deleted(j.Seq, i), nil, 0o600)
	}
}

var doubleID = regexp.MustCompile(`^([0-9]+)(?:\[([0-9,-]*)\])?(?:\.server)?$`)

// find returns the job of a number and the elements that a list in brackets names;
// no list names all.
func (d *double) find(number, list string) (*doubleJob, []int) {
	for _, j := range d.jobs() {
		if strconv.Itoa(j.Seq) != number {
			continue
		}
		if list == "" {
			return j, d.listed(j)
		}
		some := spread(list, 1)
		return j, slices.DeleteFunc(some, func(i int) bool { return !slices.Contains(d.listed(j), i) })
	}
	return nil, nil
}

// spread lists the numbers of 1-5,9.
func spread(list string, step int) []int {
	var all []int
	for _, part := range strings.Split(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, _ := strconv.Atoi(first)
		b := a
		if ranged {
			b, _ = strconv.Atoi(last)
		}
		for i := a; i <= b && len(all) <= 100_000; i += max(step, 1) {
			all = append(all, i)
		}
	}
	return all
}
