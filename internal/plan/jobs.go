package plan

import (
	"fmt"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/remote"
	"muster/internal/shell"
	mssh "muster/ssh"
)

// Cluster starts workers by a scheduler's batch jobs.
type Cluster struct {
	Scheduler string       `json:"scheduler"`
	Login     remote.Login `json:"login,omitzero"`    // where its commands are; zero is this machine
	Command   []string     `json:"command,omitempty"` // that submits; empty is the scheduler's own
	// Jobs are the submissions. Their Body is the workers' command if that is not
	// muster's own.
	Jobs []hpc.Job `json:"jobs"`
	// Bare renders options and command as R mirai's cluster_config() does.
	Bare bool `json:"bare,omitempty"`
	// Counted says that a number of workers was asked for, so that the indices of the
	// arrays are nobody's but muster's, and an array that is too large may be split.
	Counted bool `json:"counted,omitempty"`
	// JoinInScript has the script carry the join string, where nodes do not share
	// the state directory.
	JoinInScript bool `json:"join_in_script,omitempty"`
}

// Tag is what configs call the kind.
func (*Cluster) Tag() string { return "cluster" }

// Way is in how many jobs, and with whom.
func (c *Cluster) Way() string {
	text := "in " + count(len(c.Jobs), "job") + " to " + c.Scheduler
	if place := c.Places()[0]; !place.Here() {
		text += " on " + place.Login.Name()
	}
	return text
}

// count is a number of things, in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *Cluster) whole(p *Plan) error {
	if c.dialect() == nil {
		return fmt.Errorf("launcher %s: a plan for the scheduler %q, which is not known here", p.Launcher, c.Scheduler)
	}
	return nil
}

func (c *Cluster) dialect() *hpc.Dialect { return hpc.Dialects[c.Scheduler] }

// Client returns who gives the scheduler its orders.
func (c *Cluster) Client(run hpc.Runner, user string) *hpc.Client {
	return &hpc.Client{Dialect: c.dialect(), Run: run, User: user, Command: c.Command}
}

// Places are the one machine where the scheduler's commands are.
func (c *Cluster) Places() []Place {
	p := Place{Login: c.Login}
	p.Relayed = !p.Here()
	return []Place{p}
}

// Parts are the jobs.
func (c *Cluster) Parts() []Part {
	var parts []Part
	for _, j := range c.Jobs {
		part := Part{Indices: []int{0}}
		if j.Array != nil {
			part.Indices, part.Array = j.Array.Expand(), true
		}
		parts = append(parts, part)
	}
	return parts
}

// warning is how long before its end a job is to be warned: a minute, or a tenth of
// a short one.
func warning(walltime time.Duration) time.Duration { return min(time.Minute, walltime/10) }

// Largest returns the largest index of the jobs' arrays, 0 without one.
func (c *Cluster) Largest() int {
	n := 0
	for _, j := range c.Jobs {
		if j.Array != nil {
			n = max(n, j.Array.Last())
		}
	}
	return n
}

// Limited returns the kind with arrays split at the largest index that the scheduler
// takes, which is above 0.
func (c *Cluster) Limited(largest int) *Cluster {
	q := *c
	q.Jobs = nil
	for _, j := range c.Jobs {
		if j.Array == nil {
			q.Jobs = append(q.Jobs, j)
			continue
		}
		for _, a := range j.Array.Split(largest) {
			j.Array = c.dialect().Submitted(a)
			q.Jobs = append(q.Jobs, j)
		}
	}
	return &q
}

// jobName makes a name unique, or keeps it nothing for other people's workers: their
// job says what it is called, or nothing does, as in what is submitted as it is. The
// part is counted from 0.
func (c *Cluster) jobName(p *Plan, part int, unique string) string {
	name := c.Jobs[part].Name
	switch {
	case c.Bare || name == "" && p.Whose == Foreign:
		return ""
	case name == "":
		name = "muster"
	}
	end := ""
	if unique != "" {
		end = "-" + unique // a dot is no character of a name for every PBS
		if part > 0 {
			end += fmt.Sprintf("-%d", part+1)
		}
	}
	return c.dialect().Unique(name, end)
}

// Render makes the part-th submission. joinText is the join string, for scripts that
// carry it.
func (c *Cluster) Render(p *Plan, part int, joinText string) (hpc.Command, error) {
	j, n := c.Jobs[part], p.Names[0]
	d := c.dialect()
	if c.Bare {
		script, err := hpc.MiraiScript(j.Options, j.Body)
		argv := c.Command
		if len(argv) == 0 {
			argv = []string{d.Submit}
		}
		return hpc.Command{Argv: argv, Stdin: script}, err
	}
	j.Name = c.jobName(p, part, n.Unique)
	if j.Output == "" && p.Whose != Foreign {
		j.Output = d.Outputs(n.Output, j.Array != nil)
	}
	if p.Whose == Own {
		// In the shell's place, so that signals reach it.
		j.Body = "exec " + p.Worker.Line(n.Muster, c.joinFile(n))
	}
	if p.Whose != Foreign && c.JoinInScript {
		if p.Whose == Wrapped {
			// Wherever in it the worker is, that reads what all of it is given.
			j.Body = "{\n" + strings.TrimRight(j.Body, "\n") + "\n}"
		}
		j.Body += " <<'JOIN'\n" + strings.TrimRight(joinText, "\n") + "\nJOIN"
	}
	return d.Render(j, c.Command)
}

// joinFile is what workers are told to read their join string from.
func (c *Cluster) joinFile(n Names) string {
	if c.JoinInScript {
		return "-"
	}
	return n.JoinFile
}

// JobName returns the name of the part-th job, empty if muster gives it none.
func (c *Cluster) JobName(p *Plan, part int) string { return c.jobName(p, part, p.Names[0].Unique) }

func (c *Cluster) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for i, part := range c.Parts() {
		cmd, err := c.Render(p, i, "JOIN_STRING")
		if err != nil {
			return nil, err
		}
		s := &Submission{Launcher: p.Launcher, Scheduler: c.Scheduler, Argv: cmd.Argv, Script: cmd.Stdin, Files: cmd.Files, Workers: len(part.Indices)}
		if c.Login.Target.Host != "" {
			login := command(c.Login, shell.Join(cmd.Argv))
			s.Argv, s.line = login.Argv(), login.Line()
		}
		list = append(list, s)
	}
	return list, nil
}

// command is a login as OpenSSH's command line has it.
func command(l remote.Login, remote string) mssh.Command {
	return mssh.Command{Target: l.Target, Jump: l.Jump, Program: l.Command, Timeout: l.Timeout, Remote: remote}
}

// Pasted is a command as a person types it here to have it run at a place.
func (p Place) Pasted(argv []string) []string {
	if p.Here() {
		return argv
	}
	return command(p.Login, shell.Join(argv)).Argv()
}
