package relay

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"muster/internal/terminal"
)

// fault is an error of the far side on its way.
type fault struct {
	Text string
	Kind string `json:",omitempty"`
}

// kinds are the errors that keep their meaning on the way. The names are part
// of the protocol.
func kinds() map[string]error {
	return map[string]error{
		"not found":   exec.ErrNotFound,
		"missing":     fs.ErrNotExist,
		"forbidden":   fs.ErrPermission,
		"full":        syscall.ENOSPC,
		"quota":       syscall.EDQUOT,
		"port taken":  ErrPortTaken,
		"too much":    errTooMuch,
		"gone before": os.ErrProcessDone,
	}
}

func newFault(err error) *fault {
	f := &fault{Text: strings.ToValidUTF8(err.Error(), "?")}
	if len(f.Text) > maxBrief {
		f.Text = strings.ToValidUTF8(f.Text[:maxBrief], "") + "..."
	}
	for name, kind := range kinds() {
		if errors.Is(err, kind) {
			f.Kind = name
		}
	}
	if f.Kind == "full" || f.Kind == "quota" {
		f.Text += "; make room there"
	}
	return f
}

// oneLine makes a far side's text safe to show, on a line of its own.
func oneLine(text string) string {
	return strings.ReplaceAll(terminal.Safe(text), "\n", " ")
}

// remoteError is a fault that has arrived.
type remoteError struct {
	host, text string
	kind       error
}

func (e *remoteError) Error() string { return "on " + e.host + ": " + e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// lostError says why there is no link. It is net.ErrClosed to those who serve a
// Listener, for whom that is the end.
type lostError struct {
	host  string
	cause error
}

func (e *lostError) Error() string {
	return "the link to the relay on " + e.host + " is lost: " + e.cause.Error()
}

func (e *lostError) Is(target error) bool { return target == errLost || target == net.ErrClosed }
func (e *lostError) Unwrap() error        { return e.cause }
