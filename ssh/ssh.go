// Package ssh logs in to other machines and runs commands there. Others import
// it as mssh; what it exports names no type of an SSH library.
//
//	                 ┌─ native:  TCP, jump hosts, key exchange, host key, login
//	Options ─ Dial ──┤
//	                 └─ openssh: a master `ssh -M` of our own, or the user's;
//	                             its control socket in proxy mode
//	            │
//	         Client ─ Exec ────── Session    both end in the same SSH channels
//	                ├ Subsystem ─ Session
//	                └ Run ─────── Output
//
// Both clients read the user's ssh_config and known_hosts. The native one knows
// what most people's files hold and says so where it does not; the other one
// is the user's own ssh, which knows all of it.
package ssh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The clients that Options.Client names.
const (
	Native  = "native"
	OpenSSH = "openssh"
)

// defaultTimeout is for reaching one host, where neither Options nor
// ssh_config say anything.
const defaultTimeout = 10 * time.Second

// Question is what a person is asked: a password, a passphrase, a code, or
// whether to trust a host key.
type Question struct {
	Text string
	Echo bool // false hides what is typed
}

// Prompt asks a person and returns the answer without its line end. It returns
// an error when nobody is there to answer, and when ctx ends first.
type Prompt func(ctx context.Context, q Question) (answer string, err error)

// Options say where to log in, and how.
type Options struct {
	Target Target
	// Jump are the hosts to pass through, in order. Nil means what ssh_config's
	// ProxyJump says, an empty slice none.
	Jump []Target
	// Client is Native, which "" means too, or OpenSSH.
	Client string
	// Timeout is for reaching one host: TCP and key exchange, but not the time
	// that a person takes to answer. 0 means ssh_config's ConnectTimeout, or 10 s.
	Timeout time.Duration
	// AcceptNew learns the key of a host that was never seen, as does
	// StrictHostKeyChecking accept-new. A key that changed is always refused.
	AcceptNew bool
	// Config is the ssh_config file. "" means ~/.ssh/config and then
	// /etc/ssh/ssh_config, "none" no file.
	Config string
	// Program is the command line of OpenSSH's client in words divided by
	// blanks; "" means ssh.
	Program string
	// Prompt asks a person; nil means that nobody can be asked. The openssh
	// client asks through Askpass instead.
	Prompt Prompt
	// Getenv gives HOME, USER, SSH_AUTH_SOCK and what ssh_config names; nil means
	// os.Getenv. OpenSSH itself finds the home in the password database.
	Getenv func(string) string
	// ControlDir is a folder of mode 0700 for the openssh client's control
	// socket. Its path must be short: see sun_path in unix(7).
	ControlDir string
	// Askpass are NAME=VALUE pairs that make ssh ask through SSH_ASKPASS
	// (ssh(1), ENVIRONMENT). Without them the openssh client asks nobody.
	Askpass []string
	// Spawn starts a process of the openssh client and returns what is called
	// when it has ended: for callers who end what they find below them and did
	// not start. nil is Start of the command.
	Spawn func(*exec.Cmd) (ended func(), err error)
	// Log may be nil.
	Log hclog.Logger
}

// withDefaults fills in what was left to be chosen.
func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Spawn == nil {
		o.Spawn = func(cmd *exec.Cmd) (func(), error) { return func() {}, cmd.Start() }
	}
	if o.Program == "" {
		o.Program = "ssh"
	}
	return o
}

// Dial logs in. Its error is an *Error of one of this package's kinds unless
// ctx ended or the options were wrong.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o = o.withDefaults()
	if err := o.Target.check(); err != nil {
		return nil, fmt.Errorf("log in to %s: %w", o.Target, err)
	}
	for _, j := range o.Jump {
		if err := j.check(); err != nil {
			return nil, fmt.Errorf("jump through %s: %w", j, err)
		}
	}
	switch o.Client {
	case "", Native:
		return dialNative(ctx, o)
	case OpenSSH:
		return dialOpenSSH(ctx, o)
	}
	return nil, fmt.Errorf("log in to %s: there is no client %q, only %s and %s", o.Target, o.Client, Native, OpenSSH)
}
