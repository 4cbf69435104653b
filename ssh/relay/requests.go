package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

type commandArgs struct {
	Argv     []octets
	Dir, Log octets
}

type runResult struct {
	Stdout int // of the bulk's bytes; the others are error output
	Code   int
	Signal string
}

// Run runs a command in a process group of its own and waits for it. A status
// other than 0 is no error. If ctx or the link ends, the group is killed. A
// program that is not there is exec.ErrNotFound; one that prints more than 64 MiB
// to one of its outputs is killed, which is an error. Two seconds after its end
// it is not waited for what its children still print.
func (c *Conn) Run(ctx context.Context, cmd Command) (Output, error) {
	if err := cmd.check(); err != nil {
		return Output{}, err
	}
	var r runResult
	bulk, err := c.call(ctx, "run", cmd.args(""), cmd.Stdin, &r)
	if err != nil {
		return Output{}, err
	}
	if r.Stdout < 0 || r.Stdout > len(bulk) {
		return Output{}, fmt.Errorf("run on %s: an answer that makes no sense", c.hello.Host)
	}
	return Output{bulk[:r.Stdout:r.Stdout], bulk[r.Stdout:], r.Code, r.Signal}, nil
}

func (cmd Command) check() error {
	switch {
	case len(cmd.Argv) == 0:
		return errors.New("run a command: it has no words")
	case len(cmd.Stdin) > maxStream:
		return fmt.Errorf("run %s: its input has %d bytes; %d are possible", cmd.Argv[0], len(cmd.Stdin), maxStream)
	}
	return nil
}

func (cmd Command) args(log string) commandArgs {
	return commandArgs{toOctets(cmd.Argv), octets(cmd.Dir), octets(log)}
}

// Start starts a command that outlives the relay and its link, in a session of
// its own, without input. Both outputs are appended to the file log, an absolute
// path; it is made if it must, and is its owner's alone.
func (c *Conn) Start(ctx context.Context, cmd Command, log string) (Process, error) {
	if err := cmd.check(); err != nil {
		return Process{}, err
	}
	var p Process
	_, err := c.call(ctx, "start", cmd.args(log), nil, &p)
	return p, err
}

// Alive tells which of the processes still are what they were. Zombies are not.
func (c *Conn) Alive(ctx context.Context, ps []Process) ([]bool, error) {
	var alive []bool
	_, err := c.call(ctx, "alive", ps, nil, &alive)
	if err == nil && len(alive) != len(ps) {
		err = fmt.Errorf("alive on %s: %d answers to %d questions", c.hello.Host, len(alive), len(ps))
	}
	return alive, err
}

type signalArgs struct {
	Process Process
	Name    string
}

// Signal sends a signal, as TERM or SIGTERM. If the process is gone, or is
// another by now, the error is os.ErrProcessDone; if it is another user's,
// fs.ErrPermission, for root too.
func (c *Conn) Signal(ctx context.Context, p Process, name string) error {
	_, err := c.call(ctx, "signal", signalArgs{p, name}, nil, &struct{}{})
	return err
}

type writeArgs struct {
	Path octets
	Mode fs.FileMode
}

// WriteFile puts a file, at most 1 GiB, in its place in one step, at an absolute
// path. Missing folders are made, for their owner alone. data must stay as it is
// until WriteFile returns.
func (c *Conn) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if len(data) > maxFile {
		return fmt.Errorf("write %s: it has %d bytes; %d are possible", path, len(data), maxFile)
	}
	_, err := c.call(ctx, "write", writeArgs{octets(path), mode.Perm()}, data, &struct{}{})
	return err
}

// Remove removes files and trees at absolute paths; it is no error if they are
// not there. The user's home and what holds it are refused.
func (c *Conn) Remove(ctx context.Context, paths ...string) error {
	_, err := c.call(ctx, "remove", toOctets(paths), nil, &struct{}{})
	return err
}

type tailArgs struct {
	Path octets
	N    int
}

// Tail returns the last n bytes, at most 1 MiB, of the file at an absolute path.
func (c *Conn) Tail(ctx context.Context, path string, n int) ([]byte, error) {
	return c.call(ctx, "tail", tailArgs{octets(path), n}, nil, &struct{}{})
}

type statResult struct{ Exists, IsDir bool }

// Stat tells whether there is something at an absolute path, and whether it is a
// folder. Links are followed.
func (c *Conn) Stat(ctx context.Context, path string) (exists, isDir bool, err error) {
	var r statResult
	_, err = c.call(ctx, "stat", octets(path), nil, &r)
	return r.Exists, r.IsDir, err
}
