package hpc

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Client gives orders to one scheduler and asks it.
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

// run runs a command that may take t.
func (c *Client) run(ctx context.Context, t time.Duration, argv []string, stdin string) (Output, error) {
	ctx, cancel := context.WithTimeout(ctx, t)
	defer cancel()
	return c.Run(ctx, argv, stdin)
}

// SubmitCommand returns the command line that submits.
func (c *Client) SubmitCommand() []string { return c.Dialect.argv(c.Command) }

// ErrRefused marks a submission that the scheduler has certainly not taken.
var ErrRefused = errors.New("the scheduler refused the job")

// Submit hands in a job, whose files the caller has written, and returns its id.
// Unless the error is ErrRefused the job may have been accepted all the same.
func (c *Client) Submit(ctx context.Context, cmd Command) (id string, err error) {
	o, err := c.run(ctx, submitTime, cmd.Argv, cmd.Stdin)
	var missing *exec.Error
	switch {
	case errors.As(err, &missing):
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return "", err
	}
	// Wrappers and login files print lines of their own around it.
	for line := range strings.Lines(string(o.Stdout)) {
		if found := c.Dialect.parseID(strings.TrimSpace(line)); c.Dialect.valid(found) == nil {
			id = found
		}
	}
	switch {
	case o.Code != 0 && id == "" && unanswered(o):
		return "", fmt.Errorf("the scheduler's answer was lost: %w", o.failed())
	case o.Code != 0 && id == "":
		return "", fmt.Errorf("%w: %w%s", ErrRefused, o.failed(), c.Dialect.advise(string(o.Stderr)+string(o.Stdout)))
	case o.Code != 0:
		return "", fmt.Errorf("it printed the job id %s and failed: %w", id, o.failed())
	case id == "":
		return "", fmt.Errorf("%s printed no job id: %q", cmd.Argv[0], short(strings.TrimSpace(string(o.Stdout))))
	}
	return id, nil
}

// lost are words, in lower case, by which schedulers' commands say that they had no
// answer to what they may have handed in. Of a connection that was never made they
// speak otherwise.
var lost = []string{
	"timed out", "time out", "timeout", // all of them
	"send failure", "receive failure", "shutdown failure", "zero bytes were transmitted", "unexpected message", // Slurm's slurm_strerror
	"batch protocol error", "end of file", "premature end of message", "communication failure", // PBS and Torque: pbs_error(3)
	"read error", "send error", "failed receiving", // Grid Engine's commlib and GDI
	"reset by peer", "broken pipe", "transport endpoint is not connected", // errno(3)
}

// unanswered reports whether a submission that failed says that it had no answer.
func unanswered(o Output) bool {
	said := strings.ToLower(string(o.Stderr) + string(o.Stdout))
	return slices.ContainsFunc(lost, func(words string) bool { return strings.Contains(said, words) })
}

// advise explains a refusal.
func (d *Dialect) advise(said string) string {
	for _, a := range d.advice {
		if strings.Contains(strings.ToLower(said), a.said) {
			return "; " + a.todo
		}
	}
	return ""
}

// valid reports what is no id of a job. An empty one, or 0 for LSF, would mean all
// of a user's jobs.
func (d *Dialect) valid(ids ...string) error {
	for _, id := range ids {
		if !d.jobID.MatchString(id) {
			return fmt.Errorf("%q is no job id of %s", id, d.title)
		}
	}
	return nil
}

// Cancel asks the scheduler to end a job. That it is gone only List tells.
func (c *Client) Cancel(ctx context.Context, id string) error {
	if err := c.Dialect.valid(id); err != nil {
		return fmt.Errorf("cancel a job: %w", err)
	}
	return c.order(ctx, c.Dialect.cancel(id))
}

// CancelElements asks the scheduler to end some elements of an array.
func (c *Client) CancelElements(ctx context.Context, id string, indices []int) error {
	if err := c.Dialect.valid(id); err != nil {
		return fmt.Errorf("cancel elements of a job: %w", err)
	}
	const most = 500 // in one command, whose words have some 100 bytes at most
	for part := range slices.Chunk(indices, most) {
		for _, argv := range c.Dialect.cancelSome(id, spans(part)) {
			if err := c.order(ctx, argv); err != nil {
				return err
			}
		}
	}
	return nil
}

// order runs a command that cancels. That there is nothing to cancel is no error.
func (c *Client) order(ctx context.Context, argv []string) error {
	o, err := c.run(ctx, askTime, argv, "")
	if err != nil {
		return err
	}
	said := string(o.Stderr) + string(o.Stdout)
	gone := slices.ContainsFunc(c.Dialect.gone, func(s string) bool { return strings.Contains(said, s) })
	if o.Code != 0 && !gone {
		return o.failed()
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
