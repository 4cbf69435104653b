package hpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// query is a command that tells how jobs stand, and what reads its answer. What it
// says of other jobs, or in other words, is skipped: read returns an error if the
// command failed or its answer was cut off.
type query struct {
	argv []string
	read func(Output) ([]Element, error)
}

// search is a command that tells the ids of jobs.
type search struct {
	argv []string
	read func(Output) ([]string, error)
}

// errCut says that an answer is not whole.
var errCut = errors.New("the answer was cut off")

// whole reports an answer in lines that does not end with one.
func (o Output) whole() error {
	if n := len(o.Stdout); n > 0 && o.Stdout[n-1] != '\n' {
		return fmt.Errorf("%s: %w", o.name(), errCut)
	}
	return nil
}

// maxIDs bounds how many bytes of ids one command line has. Linux takes 128 KiB in
// one word.
const maxIDs = 100_000

// batches parts ids so that each part fits into a command line: one for all but
// thousands of jobs.
func batches(ids []string) [][]string {
	var list [][]string
	room := 0
	for _, id := range ids {
		if room -= len(id) + 1; len(list) == 0 || room < 0 {
			list = append(list, nil)
			room = maxIDs
		}
		list[len(list)-1] = append(list[len(list)-1], id)
	}
	return list
}

// List asks how the jobs ids stand, in one query, and returns the elements of
// these alone. A job that a good answer does not have is gone.
func (c *Client) List(ctx context.Context, ids []string) ([]Element, error) {
	if err := c.Dialect.valid(ids...); err != nil || len(ids) == 0 {
		return nil, err
	}
	var list []Element
	for _, q := range c.Dialect.list(c.User, ids) {
		o, err := c.run(ctx, askTime, q.argv, "")
		if err != nil {
			return nil, err
		}
		part, err := q.read(o)
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return only(list, ids), nil
}

// only keeps the elements of the jobs ids.
func only(list []Element, ids []string) []Element {
	ours := map[string]bool{}
	for _, id := range ids {
		ours[id] = true
	}
	return slices.DeleteFunc(list, func(e Element) bool { return !ours[e.Job] })
}

// Fates asks what became of the jobs ids. Unlike List it also tells how elements
// have ended, as long as the scheduler remembers them.
func (c *Client) Fates(ctx context.Context, ids []string) ([]Element, error) {
	list, err := c.List(ctx, ids)
	if err != nil || c.Dialect.fates == nil || len(ids) == 0 {
		return list, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, q := range c.Dialect.fates(ids) {
		// It may not keep books, or not have written yet what has just ended.
		o, err := c.Run(ctx, q.argv, "")
		if err != nil {
			continue
		}
		if ended, err := q.read(o); err == nil {
			ended = slices.DeleteFunc(ended, func(e Element) bool { return e.State != Ended })
			list = merge(list, only(ended, ids))
		}
	}
	return list, nil
}

// Find returns the ids of this user's jobs with a name.
func (c *Client) Find(ctx context.Context, name string) ([]string, error) {
	s := c.Dialect.find(c.User, name, c.Command)
	o, err := c.run(ctx, askTime, s.argv, "")
	if err != nil {
		return nil, err
	}
	found, err := s.read(o)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range found {
		if c.Dialect.valid(id) == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Limit asks for the largest array index, 0 if the scheduler does not say.
func (c *Client) Limit(ctx context.Context) int {
	o, err := c.run(ctx, askTime, c.Dialect.limits, "")
	if err != nil || o.Code != 0 {
		return 0
	}
	return max(c.Dialect.limit(string(o.Stdout)), 0)
}

// Version runs the command that submits for what it says of itself.
func (c *Client) Version(ctx context.Context) (string, error) {
	o, err := c.run(ctx, askTime, []string{c.SubmitCommand()[0], c.Dialect.version}, "")
	if err != nil {
		return "", err
	}
	if !slices.Contains(c.Dialect.versionCodes, o.Code) {
		return "", o.failed()
	}
	said := strings.TrimSpace(string(o.Stdout) + string(o.Stderr)) // Torque and LSF write it to stderr
	line, _, _ := strings.Cut(said, "\n")
	return strings.TrimSpace(line), nil
}
