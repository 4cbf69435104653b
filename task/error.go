package task

import "encoding/json"

// Kind tells error values apart. The numbers travel on the wire and never
// change their meaning.
type Kind uint8

// The kinds of error value.
const (
	KindExit      Kind = 1  // the command exited with a status other than 0; Code is the status
	KindSignal    Kind = 2  // the command died of a signal; Code is 128 + the signal's number
	KindError     Kind = 3  // the command or muster described an error of its own
	KindInterrupt Kind = 4  // the command was ended by SIGINT
	KindTimeout   Kind = 5  // the task's own time limit
	KindReset     Kind = 6  // the worker went away
	KindCancelled Kind = 7  // somebody cancelled the task
	KindSpawn     Kind = 8  // the command could not be started
	KindOOM       Kind = 9  // the kernel killed it for want of memory
	KindWalltime  Kind = 10 // the scheduler's time limit
	KindPreempted Kind = 11 // the scheduler gave the place to another job
)

var kindNames = [...]string{"unknown", "exit", "signal", "error", "interrupt", "timeout",
	"reset", "cancelled", "spawn", "oom", "walltime", "preempted"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// ParseKind returns the kind of a name, 0 for one that is not known.
func ParseKind(name string) Kind {
	for i, n := range kindNames {
		if n == name {
			return Kind(i)
		}
	}
	return 0
}

// Codes and texts that users of R mirai know; see docs/coming-from-mirai.md
// for nng's numbering, from which they come.
const (
	CodeTimeout   = 5
	CodeReset     = 19
	CodeCancelled = 20

	TextTimeout   = "Timed out"
	TextReset     = "Connection reset"
	TextCancelled = "Operation canceled"
	// TextPreempted goes with CodeReset: another job got the place.
	TextPreempted = "Preempted"

	// TextWalltime goes with CodeReset: the worker's job was at its end.
	TextWalltime = "Walltime reached"
)

// Class sorts error values as mirai does: an error of the evaluation, an
// interrupt of the evaluation, or neither (the task never got to finish).
type Class uint8

// The classes of error value.
const (
	ClassNeither Class = iota
	ClassError
	ClassInterrupt
)

func (c Class) String() string {
	return [...]string{"neither", "error", "interrupt"}[min(c, ClassInterrupt)]
}

// Class returns the class of every error value of this kind.
func (k Kind) Class() Class {
	switch k {
	case KindExit, KindSignal, KindError, KindSpawn, KindOOM:
		return ClassError
	case KindInterrupt:
		return ClassInterrupt
	}
	return ClassNeither
}

// ErrorValue is what a task that did not succeed resolved to.
type ErrorValue struct {
	Kind Kind
	// Code is the exit status, 128 + signal, or one of mirai's codes.
	Code int
	// Message is one line for a person, without the task's name.
	Message string
	// Signal is the signal's name, such as SIGSEGV, where one was involved.
	Signal string
	// Evidence says how muster knows, such as the counter that moved or the
	// directories searched; empty when Kind and Code say it all.
	Evidence string
	// Detail is the JSON object the command left in MUSTER_ERROR_FILE,
	// verbatim; nil if it left none.
	Detail json.RawMessage
}

// Error returns the message.
func (e *ErrorValue) Error() string { return e.Message }

// Timeout, Reset and Cancelled make the error values that carry mirai's codes.
// evidence says why and may be empty.
func Timeout(evidence string) *ErrorValue {
	return &ErrorValue{Kind: KindTimeout, Code: CodeTimeout, Message: TextTimeout, Evidence: evidence}
}

// Reset is the error value of a task whose worker went away.
func Reset(evidence string) *ErrorValue {
	return &ErrorValue{Kind: KindReset, Code: CodeReset, Message: TextReset, Evidence: evidence}
}

// Cancelled is the error value of a task that was cancelled.
func Cancelled(evidence string) *ErrorValue {
	return &ErrorValue{Kind: KindCancelled, Code: CodeCancelled, Message: TextCancelled, Evidence: evidence}
}
