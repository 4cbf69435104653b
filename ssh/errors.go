package ssh

import (
	"errors"
	"fmt"
)

// Where on the way a login or a connection failed. Errors of this package are
// matched with errors.Is.
var (
	ErrResolve   = errors.New("host name not found")      // DNS
	ErrConnect   = errors.New("host not reached")         // TCP, or no SSH server behind it
	ErrHostKey   = errors.New("host key not trusted")     // unknown, changed or revoked
	ErrAuth      = errors.New("login refused")            // every way to log in was tried
	ErrForward   = errors.New("forwarding not permitted") // by a jump host
	ErrLost      = errors.New("connection lost")          // after the login
	ErrSession   = errors.New("session not permitted")    // by a server that allows few or none
	ErrSubsystem = errors.New("subsystem not offered")    // by a server that runs commands alone
)

// Error is a failure at one host. Kind is one of the errors above.
type Error struct {
	Kind error
	Host string // the host that it is about, which may be a jump host
	Text string // what was tried, what happened, what to do next
	Err  error  // what caused it; may be nil
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// failf makes an Error; what %w wraps becomes its cause.
func failf(kind error, host, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Host: host, Text: err.Error(), Err: errors.Unwrap(err)}
}

// ExitError is how a command ended that did not exit with 0.
type ExitError struct {
	Code   int    // exit status; 128 if a signal ended it
	Signal string // the signal's name without SIG, or ""
	Stderr string // the last 4 KiB that it wrote there
}

// Error says how it ended and the last it said.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		text = "ended by SIG" + e.Signal
	}
	if e.Stderr != "" {
		text += ": " + lastLine(e.Stderr)
	}
	return text
}
