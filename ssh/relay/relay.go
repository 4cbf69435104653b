// Package relay acts for muster on another machine: one byte stream, in production
// the standard input and output of one SSH session, carries what has to be done
// there and the connections that come in there.
//
//	dispatcher ── Listener ── Conn ══ rw ══ Serve ── TCP port ◄── workers
//	launcher ──── Run, Start, ... ┘          └──── processes, files
//
// Servers may allow a single session a connection (MaxSessions, sshd_config(5))
// and forbid every forwarding, so all goes over that one stream, multiplexed by
// yamux. The near side asks; the far side, the command muster relay, does, and
// lives no longer than its link. What workers send is ciphertext that nothing
// here looks at.
//
// How to try it: make two pipes, give one end to Serve and the other to Connect,
// as the tests do.
package relay

import (
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrPortTaken is what Listen fails with when another program has the port.
//
// Beside it errors are, for errors.Is, net.ErrClosed if the link is lost, and
// fs.ErrNotExist, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT,
// exec.ErrNotFound and os.ErrProcessDone where they were that over there.
var ErrPortTaken = errors.New("the port is taken")

var (
	errNoHello = errors.New("no muster relay answered")
	errVersion = errors.New("another version of the relay protocol")
	errLost    = errors.New("the link is lost")
	errTooMuch = errors.New("more output than a relay carries")
)

// Options are the near side's.
type Options struct {
	Log   hclog.Logger // nil: none
	Build string       // this muster's version, for messages; cut at 48 bytes

	keepalive time.Duration // 0: the usual interval and patience
}

// ServeOptions are the far side's.
type ServeOptions struct {
	Log   hclog.Logger // nil: none
	Build string       // this muster's version, for messages; cut at 48 bytes
	// RunEnv is the environment of commands that Run runs, NAME=VALUE; nil is the
	// process's own, which those that Start starts have in any case.
	RunEnv []string

	keepalive   time.Duration // 0: the usual interval and patience
	connections int           // 0: maxRelayed
}

// Hello is what the far side says of itself.
type Hello struct {
	Build    string
	OS, Arch string // as Go names them: linux, amd64
	Host     string // its host name
	Boot     string // Linux's boot id: the same Process on another boot or host is another; else ""
	User     string
	Self     Process // the relay itself
}

// Process names a process for good on one boot of one machine.
type Process struct {
	Pid   int
	Start string // its start in clock ticks since boot (proc(5), stat, field 22); "" where there is no /proc
}

// Command is what Run and Start run.
type Command struct {
	Argv  []string // the first is looked up in the far side's PATH unless it has a slash
	Dir   string   // absolute; "": the far user's home
	Stdin []byte   // at most 64 MiB; Start gives /dev/null
}

// Output is what came of a command that ran.
type Output struct {
	Stdout, Stderr []byte
	Code           int    // exit status; -1 if a signal ended it
	Signal         string // as SIGTERM; "" if it exited
}

// ListenRequest asks for a listening TCP port on the far side.
type ListenRequest struct {
	Host    string  // an IP address of the far side, as 127.0.0.1; "": all
	Port    int     // 0: any
	Replace Process // an earlier relay of ours that may still hold the port and is then ended
}
