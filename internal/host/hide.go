package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"muster/internal/plan"
)

// HideJoin starts a worker's process anew, as exe, if it has a join string in its
// environment, and without it there: the environment of a process stands in /proc for as
// long as it lives, whatever the process does to it. If the worker names no join file, it
// has the string on its standard input then. Else HideJoin returns.
func HideJoin(exe, joinFile string) error {
	text, is := os.LookupEnv(plan.JoinVariable)
	if !is {
		return nil
	}
	words := slices.Clone(os.Args)
	if joinFile == "" && text != "" {
		if len(text) > maxJoinText { // more would not fit into a pipe that nobody reads yet
			return fmt.Errorf("%s is no join string: it has %d bytes", plan.JoinVariable, len(text))
		}
		words = append(words, "--join-file", "-")
		if err := onStdin(text + "\n"); err != nil {
			return fmt.Errorf("take the join string out of the environment: %w", err)
		}
	}
	os.Unsetenv(plan.JoinVariable)
	return fmt.Errorf("take the join string out of the environment: %w", syscall.Exec(exe, words, os.Environ()))
}

// maxJoinText bounds what is taken for a join string, in bytes.
const maxJoinText = 16 << 10

// onStdin makes this process's standard input a pipe that holds a short text.
func onStdin(text string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = w.WriteString(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	syscall.Close(0)
	n, err := syscall.Dup(int(r.Fd())) // the lowest that is free
	if err == nil && n != 0 {
		err = fmt.Errorf("standard input became descriptor %d", n)
	}
	return err
}
