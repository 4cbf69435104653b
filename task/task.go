// Package task is muster's vocabulary: what a task is, the states it passes
// through, and what it resolves to. It imports nothing of muster's own but
// random streams, so
// that every other package can share it.
package task

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/rng"
)

// ID names a task within one dispatcher. IDs grow by one from 1 in the order
// of submission and are never used again; 0 is no task.
type ID uint64

// Spec is everything an executor needs to run one command.
type Spec struct {
	// Argv is the program and its arguments, each one word; never empty. In it
	// SlotMark stands for the number of the slot, and a ShareMark for a path.
	Argv []string
	// Dir is the absolute working directory.
	Dir string
	// Env holds NAME=VALUE entries laid over the worker's own environment.
	// They are the only variables that travel.
	Env []string
	// Timeout ends the task when it has run this long; 0 means no limit.
	Timeout time.Duration
	// Input is the command's standard input, or the JSON that a function is
	// given; a command without any reads /dev/null.
	Input []byte
	// Func is the name of a function of the worker's own program, to be called
	// instead of Argv, which then only says so to people.
	Func string
	// Everywhere makes what the task leaves behind that of all later tasks of
	// its worker: Argv is run so that its environment and directory are kept.
	Everywhere bool
	// Live has what the task prints sent as it comes, and not with its result.
	Live bool
	// Index is the task's place among its map's inputs, counted from 1.
	Index int
	// Name is what the user calls the result; empty if they gave none. In it
	// SlotMark stands for the number of the slot.
	Name string
	// Stream is where the task's random numbers begin, which follows from a seed. With
	// the zero one its slot gives it one.
	Stream rng.Stream
	// Shares are what the task can read in memory.
	Shares []Share
	// Row is the input that the task was made from. It does not travel to workers.
	Row Row
}

// SlotMark stands for the number of the slot that runs a task, which is known
// when the task begins. No word of a command can hold it otherwise.
const SlotMark = "\x00%"

// InSlot returns the spec with the number of a slot, from 1, in place of
// SlotMark.
func (s Spec) InSlot(n int) Spec {
	marked := func(w string) bool { return strings.Contains(w, SlotMark) }
	if marked(s.Name) {
		s.Name = strings.ReplaceAll(s.Name, SlotMark, strconv.Itoa(n))
	}
	if slices.ContainsFunc(s.Argv, marked) {
		s.Argv = slices.Clone(s.Argv)
		for i, w := range s.Argv {
			s.Argv[i] = strings.ReplaceAll(w, SlotMark, strconv.Itoa(n))
		}
	}
	return s
}

// RandomEnv returns the variables by which a command knows the stream of its random
// numbers: MUSTER_SEED, a whole number from 1 that is made of it, and MUSTER_RNG_STREAM,
// R's .Random.seed[2:7].
func (s *Spec) RandomEnv() (seed, stream string) {
	if s.Stream.IsZero() {
		return "MUSTER_SEED=", "MUSTER_RNG_STREAM="
	}
	return "MUSTER_SEED=" + strconv.Itoa(int(s.Stream.SmallSeed())), "MUSTER_RNG_STREAM=" + s.Stream.String()
}

// Size returns the length of all that the spec holds, in bytes, with what an
// encoding adds to each word.
func (s *Spec) Size() int {
	const perWord = 8
	n := len(s.Dir) + len(s.Name) + len(s.Input) + len(s.Func)
	for _, list := range [][]string{s.Argv, s.Env, s.Row.Values, s.Row.Columns} {
		for _, w := range list {
			n += len(w) + perWord
		}
	}
	for _, sh := range s.Shares {
		n += len(sh.Name) + len(sh.Ref) + perWord
	}
	return n
}

// State is where a task stands. States only move forward, except that an
// assigned task may be taken back to Queued and a Lost one may be tried again.
type State uint8

// The states of a task, in order.
const (
	Queued   State = iota // waiting for a slot
	Assigned              // sent to a worker, not started as far as we know
	Running               // started
	Held                  // ended by a signal nobody has owned up to yet; see "Who killed it" in docs/internals.md
	Done                  // resolved with a value
	Failed                // resolved with an error value
)

var stateNames = [...]string{"queued", "assigned", "running", "held", "done", "failed"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Resolved reports whether the task has ended for good.
func (s State) Resolved() bool { return s >= Done }

// Result is what one task resolved to, without its output, which whoever ran
// the task holds.
type Result struct {
	ID      ID
	Index   int    // from 1
	Name    string // empty if the user gave none
	Argv    []string
	Attempt int           // from 1
	Worker  string        // the worker it ran on; empty if it never started
	Slot    int           // the slot on that worker, from 1; 0 if it never started
	Started time.Time     // by the clock of the worker; zero if it never started
	Elapsed time.Duration // from the start of the process to its end
	Stream  rng.Stream    // of its random numbers; the zero one if nobody knows
	Err     *ErrorValue   // nil if the task succeeded
	Note    string        // what is to be known of a task that succeeded all the same
}

// Info is the five counters of one profile, as mirai's info() has them.
type Info struct {
	Connections int `json:"connections"` // workers connected now
	Cumulative  int `json:"cumulative"`  // workers that ever were
	Awaiting    int `json:"awaiting"`    // tasks queued
	Executing   int `json:"executing"`   // tasks with a worker
	Completed   int `json:"completed"`   // tasks resolved, cancelled ones too
}

// OK reports whether the task succeeded.
func (r *Result) OK() bool { return r.Err == nil }
