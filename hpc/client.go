package hpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"muster/internal/terminal"
)

// Output is what a command printed, and its exit status.
type Output struct {
	Stdout, Stderr []byte
	Code           int
	Argv           []string // what ran, for messages
}

// failed makes an error of a command's failure.
func (o Output) failed() error {
	said := terminal.Safe(strings.Join(strings.Fields(string(o.Stderr)+" "+string(o.Stdout)), " "))
	if len(said) > 500 {
		said = said[:500] + "..."
	}
	if said == "" {
		said = "it said nothing"
	}
	name := "the command"
	if len(o.Argv) > 0 {
		name = o.Argv[0]
	}
	return fmt.Errorf("%s: exit status %d: %s", name, o.Code, said)
}

// Runner runs a scheduler's command, here or elsewhere. Its error means that
// it is unknown what the command did, if it ran at all.
type Runner func(ctx context.Context, argv []string, stdin string) (Output, error)

// maxAnswer bounds what is kept of a command's output, in bytes: a line of
// squeue for each of a million elements.
const maxAnswer = 256 << 20

// Here runs commands on this machine with the environment env, in a process
// group of their own, which is ended with the context.
func Here(env []string) Runner {
	return HereBy(env, func(cmd *exec.Cmd) (func(), error) { return func() {}, cmd.Start() })
}

// HereBy is Here in a process that keeps account of its children: start starts a
// command, and the function that it returns is called when the command has been
// waited for.
func HereBy(env []string, start func(*exec.Cmd) (ended func(), err error)) Runner {
	return func(ctx context.Context, argv []string, stdin string) (Output, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = env
		cmd.Stdin = strings.NewReader(stdin)
		var out, errs capped
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		ended, err := start(cmd)
		if err == nil {
			err = cmd.Wait()
			ended()
		}
		o := Output{Stdout: out.b.Bytes(), Stderr: errs.b.Bytes(), Argv: argv}
		var exit *exec.ExitError
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return o, fmt.Errorf("%s was interrupted", argv[0])
		case ctx.Err() != nil:
			return o, fmt.Errorf("%s did not answer in time", argv[0])
		case errors.As(err, &exit) && exit.Exited():
			o.Code = exit.ExitCode()
			return o, nil
		case err != nil:
			return o, fmt.Errorf("run %s: %w", argv[0], err)
		case out.full || errs.full:
			return o, fmt.Errorf("%s printed more than %d bytes", argv[0], maxAnswer)
		}
		return o, nil
	}
}

// capped keeps the first maxAnswer bytes.
type capped struct {
	b    bytes.Buffer
	full bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := maxAnswer - c.b.Len()
	if len(p) > room {
		c.full = true
		c.b.Write(p[:room])
		return len(p), nil
	}
	return c.b.Write(p)
}

// State is where an element of a job array stands.
type State uint8

// The states of an element.
const (
	Unknown State = iota // the scheduler's word for it is not known here
	Pending
	Running
	Ended
)

func (s State) String() string { return [...]string{"unknown", "pending", "running", "ended"}[s] }

// End is how an element ended, where its scheduler tells.
type End uint8

// The ends of an element.
const (
	EndUnknown   End = iota // it has not ended, or nobody knows how
	EndOrdinary             // its script ended, well or not
	EndCancelled            // by a person
	EndPreempted            // for another job, or to be run again
	EndWalltime             // its time was over
	EndMemory               // it used more than it may
	EndNode                 // its node failed
)

// Element is one element of a job array, or a plain job, as a scheduler lists it.
type Element struct {
	Job    string // the id that submission printed
	Index  int    // 0 for a plain job too
	Name   string
	State  State
	Raw    string // the scheduler's own word
	Reason string // why it waits, where the scheduler says so
	Node   string
	End    End
}

// Client gives orders to one scheduler.
type Client struct {
	Dialect *Dialect
	Run     Runner
	User    string
	// Command submits; empty is the dialect's own.
	Command []string
}

// Times a scheduler's commands may take. Slurm's own commands try for up to
// 40 s to reach a controller that is down.
const (
	submitTime = 90 * time.Second
	askTime    = 60 * time.Second
)

// SubmitCommand returns the command line that submits.
func (c *Client) SubmitCommand() []string {
	argv := slices.Clone(c.Command)
	if len(argv) == 0 {
		argv = []string{c.Dialect.Submit}
	}
	for _, o := range c.Dialect.terse {
		if !slices.Contains(argv, o) {
			argv = append(argv, o)
		}
	}
	return argv
}

// ErrRefused marks a submission that the scheduler has certainly not taken.
var ErrRefused = errors.New("the scheduler refused the job")

// Submit hands in a script and returns the job's id. Unless the error is
// ErrRefused the job may have been accepted all the same.
func (c *Client) Submit(ctx context.Context, script string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, submitTime)
	defer cancel()
	argv := c.SubmitCommand()
	o, err := c.Run(ctx, argv, script)
	var missing *exec.Error
	switch {
	case errors.As(err, &missing):
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return "", err
	case o.Code != 0:
		return "", fmt.Errorf("%w: %w%s", ErrRefused, o.failed(), c.Dialect.advice(string(o.Stderr)+string(o.Stdout)))
	}
	if id = c.Dialect.parseID(string(o.Stdout)); id == "" {
		return "", fmt.Errorf("%s printed no job id: %q", argv[0], strings.TrimSpace(string(o.Stdout)))
	}
	return id, nil
}

// advice explains a refusal.
func (d *Dialect) advice(said string) string {
	switch {
	case (d == pbsPro || d == torque) && strings.Contains(strings.ToLower(said), "usage: qsub"):
		return "; PBS Pro and Torque are two dialects: `qsub --version` says pbs_version for the one (scheduler = \"pbs\") and Version for the other (\"torque\")"
	case strings.Contains(said, "Invalid job array specification"), strings.Contains(said, "exceeds server or queue size limit"),
		strings.Contains(said, "Job array index too large"):
		return "; the array is larger than this scheduler allows: `muster config check` asks it for the limit"
	}
	return ""
}

// List asks after the jobs ids, in one query, and returns all of this user's
// that the scheduler speaks of, others too. A job that is in a good answer
// neither as waiting nor as running has ended.
func (c *Client) List(ctx context.Context, ids []string) ([]Element, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o, err := c.Run(ctx, c.Dialect.list(c.User, ids), "")
	if err != nil {
		return nil, err
	}
	return c.Dialect.parseList(o)
}

// Fates asks what became of the jobs ids. Unlike List it also tells how elements
// have ended, as long as the scheduler remembers them.
func (c *Client) Fates(ctx context.Context, ids []string) ([]Element, error) {
	d := c.Dialect
	if d.fates == nil {
		return c.List(ctx, ids)
	}
	list, err := c.List(ctx, ids)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, argv := range d.fates(ids) {
		// It may not keep books, or not have written yet what has just ended.
		if o, err := c.Run(ctx, argv, ""); err == nil {
			list = merge(list, d.parseFates(string(o.Stdout)))
		}
	}
	return list, nil
}

// merge adds what elements ended with to a list. One that is listed as waiting or
// running is so, whatever became of it before.
func merge(list, ended []Element) []Element {
	for _, e := range ended {
		i := slices.IndexFunc(list, func(l Element) bool { return l.Job == e.Job && l.Index == e.Index })
		switch {
		case i < 0:
			list = append(list, e)
		case list[i].State == Ended:
			list[i].End, list[i].Raw = e.End, e.Raw
		}
	}
	return list
}

// Find returns the ids of this user's jobs with a name.
func (c *Client) Find(ctx context.Context, name string) ([]string, error) {
	if c.Dialect == pbsPro || c.Dialect == torque {
		// Without ids qstat lists everybody's jobs.
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		o, err := c.Run(ctx, []string{"qselect", "-u", c.User, "-N", name}, "")
		if err != nil {
			return nil, err
		}
		if o.Code != 0 {
			return nil, o.failed()
		}
		return strings.Fields(string(o.Stdout)), nil
	}
	list, err := c.List(ctx, nil)
	var ids []string
	for _, e := range list {
		if e.Name == name && !slices.Contains(ids, e.Job) {
			ids = append(ids, e.Job)
		}
	}
	return ids, err
}

// Cancel asks the scheduler to end a job. That it is gone only List tells.
func (c *Client) Cancel(ctx context.Context, id string) error {
	if strings.Trim(id, "0123456789[].") == id || id == "" {
		return fmt.Errorf("cancel job %q: that is no job id", id) // an empty one, or 0 for LSF, would mean all
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o, err := c.Run(ctx, c.Dialect.cancel(id), "")
	if err != nil {
		return err
	}
	if o.Code != 0 && !gone(string(o.Stderr)+string(o.Stdout)) {
		return o.failed()
	}
	return nil
}

// CancelElements asks the scheduler to end some elements of an array.
func (c *Client) CancelElements(ctx context.Context, id string, indices []int) error {
	const most = 500 // in one command
	for len(indices) > 0 {
		n := min(len(indices), most)
		for _, argv := range c.Dialect.cancelSome(id, spans(indices[:n])) {
			ctx, cancel := context.WithTimeout(ctx, askTime)
			o, err := c.Run(ctx, argv, "")
			cancel()
			if err != nil {
				return err
			}
			if o.Code != 0 && !gone(string(o.Stderr)+string(o.Stdout)) {
				return o.failed()
			}
		}
		indices = indices[n:]
	}
	return nil
}

// CancelCommand is what a person would type to cancel a job.
func (c *Client) CancelCommand(id string) []string { return c.Dialect.cancel(id) }

// spans gathers indices that follow each other.
func spans(indices []int) []Span {
	indices = slices.Sorted(slices.Values(indices))
	var list []Span
	for _, i := range indices {
		if n := len(list); n > 0 && list[n-1].Last == i-1 {
			list[n-1].Last = i
			continue
		}
		list = append(list, Span{i, i, 1})
	}
	return list
}

// gone reports whether a refusal to cancel says that there is nothing to cancel.
func gone(said string) bool {
	for _, s := range []string{"Invalid job id", "already completing or completed", "Unknown Job Id", "has finished",
		"does not exist", "No matching job found", "already finished", "already in deletion"} {
		if strings.Contains(said, s) {
			return true
		}
	}
	return false
}

// Limit asks for the largest array index, 0 if the scheduler does not say.
func (c *Client) Limit(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o, err := c.Run(ctx, c.Dialect.limits, "")
	if err != nil || o.Code != 0 {
		return 0
	}
	return max(c.Dialect.limit(string(o.Stdout)), 0)
}

// Version runs the command that submits for what it says of itself.
func (c *Client) Version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	argv := []string{c.SubmitCommand()[0], c.Dialect.version}
	o, err := c.Run(ctx, argv, "")
	if err != nil {
		return "", err
	}
	said := strings.TrimSpace(string(o.Stdout) + string(o.Stderr)) // Torque and LSF write it to stderr
	line, _, _ := strings.Cut(said, "\n")
	if o.Code != 0 && c.Dialect != gridEngine { // -help ends with 1
		return "", o.failed()
	}
	return strings.TrimSpace(line), nil
}

// MostCPUs asks how many CPUs the largest node has, 0 if the scheduler does not
// say.
func (c *Client) MostCPUs(ctx context.Context) int {
	if c.Dialect != slurm {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o, err := c.Run(ctx, []string{"sinfo", "-h", "-N", "-o", "%c"}, "")
	if err != nil || o.Code != 0 {
		return 0
	}
	most := 0
	for _, word := range strings.Fields(string(o.Stdout)) {
		n, _ := strconv.Atoi(word)
		most = max(most, n)
	}
	return most
}
