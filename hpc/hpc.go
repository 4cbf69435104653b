// Package hpc speaks to cluster schedulers: it renders a job or job array as a
// batch script for Slurm, PBS Pro, Torque, Grid Engine or LSF, submits it,
// asks after all jobs in one query, and cancels them.
//
// A dialect is a table of what one scheduler wants and says; everything else
// is the same for all. Rendering is pure: the same job makes the same bytes.
package hpc

import (
	"fmt"
	"time"
)

// Job is a batch job, or an array of equal ones, that runs Body once in each.
// Zero values are left to the scheduler.
type Job struct {
	Name     string
	Array    *Array        // nil is a plain job
	Walltime time.Duration // after which the scheduler ends the job
	Warn     time.Duration // how long before that it is to send a signal, where it can
	CPUs     int
	Memory   int64 // bytes, of the whole job on its node
	GPUs     int
	Queue    string
	Account  string
	Output   string // file for stdout and stderr both, in the scheduler's own pattern
	PE       string // Grid Engine's parallel environment for more than one CPU
	Shell    string // what follows #!
	Workdir  string // absolute
	Setup    []string
	Options  string // raw directives and lines, put in as they are, less leading blanks
	Body     string // one or more lines of shell
}

// FieldError is a mistake in one field of a Job. Line is that of Options, from
// 1, or 0.
type FieldError struct {
	Field string
	Line  int
	Msg   string
	Hint  string
}

func (e *FieldError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s, line %d: %s", e.Field, e.Line, e.Msg)
	}
	return e.Field + ": " + e.Msg
}

// FieldErrors are those that an error is made of.
func FieldErrors(err error) []*FieldError {
	switch e := err.(type) {
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() []error }:
		var list []*FieldError
		for _, one := range e.Unwrap() {
			list = append(list, FieldErrors(one)...)
		}
		return list
	}
	return nil
}

// hms writes a duration as H:MM:SS, rounded up to whole seconds.
func hms(d time.Duration) string {
	s := int((d + time.Second - 1) / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// mebi rounds bytes up to whole MiB, what schedulers call MB.
func mebi(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }
