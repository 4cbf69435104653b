package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/hpc"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/prompt"
	"muster/internal/remote"
	"muster/internal/self"
	"muster/internal/state"
	"muster/ssh/relay"
)

// newRelay is the process that muster starts on another machine, at the end of
// an SSH session.
func newRelay(s streams) *cli.Command {
	return &cli.Command{Name: "relay", Hidden: true, Usage: "act for muster on a machine behind SSH", Flags: logFlags("", ""),
		Action: func(c *cli.Context) error {
			log, err := logger(c, s.err)
			if err != nil {
				return err
			}
			rw, err := relay.Stdio()
			if err != nil {
				return err
			}
			// What is run here are a scheduler's commands, which a login script's
			// variables would have answer other than they are asked.
			return relay.Serve(c.Context, rw, relay.ServeOptions{Log: log, Build: Version, RunEnv: hpc.Scrub(os.Environ())})
		}}
}

// answerer serves a socket at which logins for pools ask their questions, as
// long as this command lives; it returns an empty path if nothing will be asked
// or there is no terminal. bar is what else is shown there, or nil.
func answerer(bar *progress, pools ...*pool) (path string, end func(), err error) {
	for _, p := range pools {
		if p.remote() {
			return answer(bar)
		}
	}
	return "", func() {}, nil
}

// answer serves a socket at which questions are asked at the terminal.
func answer(bar *progress) (path string, end func(), err error) {
	if !prompt.Present() {
		return "", func() {}, nil
	}
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return "", nil, err
	}
	var name [6]byte
	rand.Read(name[:])
	path = filepath.Join(dir, "ask-"+hex.EncodeToString(name[:])+".sock")
	l, err := host.ListenUnix(path)
	if err != nil {
		return "", nil, fmt.Errorf("let logins ask for passwords: %w", err)
	}
	return path, prompt.Serve(l, bar.terminal().Ask), nil
}

// askpass is the environment in which OpenSSH's client asks at a socket.
func askpass(socket string) []string {
	exe, err := self.Path()
	if err != nil {
		return nil
	}
	return prompt.AskpassEnv(socket, exe)
}

// newFleet is a fleet without a dispatcher, for what is started by other means or
// taken back. bar shows copies, or is nil.
func newFleet(s streams, log hclog.Logger, run *state.Run, bar *progress) (*fleet.Fleet, func(), error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	sockets, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	o := remote.Options{Program: host.ProgramFor(dir), Build: Version, SocketDir: sockets, Askpass: askpass, Log: log, Say: s.err.Say, Progress: bar.copied()}
	f := &fleet.Fleet{Run: here(), User: userName(), Log: log, Say: s.err.Say, Program: program}
	f.Reopen = reopen
	if run != nil {
		o.Run, f.Dir = run.ID, run.Launches()
	}
	o.Needed = f.On
	f.Sites = remote.New(o)
	return f, func() {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		f.Sites.Close(ctx, f.On)
	}, nil
}
