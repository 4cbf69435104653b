package launch

import (
	"fmt"
	"slices"

	"muster/internal/config"
	"muster/internal/remote"
	mssh "muster/ssh"
)

// For plans a launcher of any kind. times is how often a cluster's array goes
// out, and how many workers are started by SSH on each machine, unless the wish
// says.
func For(f *config.File, l *config.Launcher, s config.Scope, w Wish, times int) (*Plan, error) {
	if l.Kind == "ssh" {
		return SSH(f, l, s, w, times)
	}
	return Cluster(f, l, s, w, times)
}

// SSH plans an ssh launcher.
func SSH(f *config.File, l *config.Launcher, s config.Scope, w Wish, times int) (*Plan, error) {
	hosts, c, err := logins(f, l, s)
	if err != nil {
		return nil, err
	}
	p := &Plan{Profile: w.Profile, options: w.Options, Launcher: l.Name, Slots: c.Slots, Foreign: c.WorkerCommand != "", foreign: c.WorkerCommand,
		Poll: c.Poll, Muster: c.Muster, bare: c.Bare, walltime: w.Walltime, estimate: w.Estimate, dir: c.Workdir,
		Hosts: hosts, PerHost: max(times, 1), Tunnel: c.Tunnel, Port: w.Port}
	if p.Foreign && p.Tunnel && p.Port == "" {
		return nil, f.At(l.Where("tunnel"), 0, "a tunnel for other people's workers needs to know which port they dial", `url = "tcp://127.0.0.1:5555" in the profile says`)
	}
	if p.job.Workdir = c.Workdir; p.job.Workdir == "" {
		p.job.Workdir = w.Dir
	}
	if p.Poll == 0 {
		p.Poll = DefaultPoll
	}
	if p.Slots == 0 {
		p.Slots = w.Slots
	}
	if w.Workers > 0 {
		p.PerHost = w.Workers
	}
	return p, nil
}

// logins are the machines of an ssh launcher, reached as its via says.
func logins(f *config.File, l *config.Launcher, s config.Scope) ([]remote.Login, *config.SSH, error) {
	c, err := f.SSH(l, s)
	if err != nil {
		return nil, nil, err
	}
	var jump []mssh.Target
	if l.Via != nil {
		through, err := via(f, l, s)
		if err != nil {
			return nil, nil, err
		}
		if err := sameWay(f, l, c, through); err != nil {
			return nil, nil, err
		}
		jump = append(append(jump, through.Jump...), through.Target)
	}
	var list []remote.Login
	for i, text := range c.Remotes {
		if !s.Redact && slices.Contains(c.Remotes[:i], text) {
			return nil, nil, f.At(l.Where("remotes"), 0, text+" is named twice", "workers says how many are started on each")
		}
		target, err := mssh.ParseTarget(text)
		if text == config.Redacted {
			target, err = mssh.Target{Host: text}, nil // it is only shown
		}
		if err != nil {
			return nil, nil, f.At(l.Where("remotes"), 0, err.Error(), `remotes = ["ssh://user@host:22"]`)
		}
		list = append(list, remote.Login{Target: target, Jump: jump, Client: c.Client, Command: c.Command, Timeout: c.Timeout,
			AcceptNew: c.AcceptNew, State: c.State, Muster: c.Muster, Binary: c.Binary, Addresses: c.Addresses})
	}
	return list, c, nil
}

// sameWay checks that the launcher that leads to a machine does not ask for another
// way of logging in than the machine's own: it is one login.
func sameWay(f *config.File, l *config.Launcher, c *config.SSH, through *remote.Login) error {
	for name, other := range map[string]bool{"client": through.Client != "" && through.Client != c.Client, "command": through.Command != "" && through.Command != c.Command,
		"timeout": through.Timeout != 0 && through.Timeout != c.Timeout, "accept_new": through.AcceptNew && !c.AcceptNew} {
		if other {
			return f.At(l.Where("via"), 0, fmt.Sprintf("launcher ssh.%s has a %s that this one has not, and both are one login", l.Via.Name, name), "give this one the same "+name)
		}
	}
	return nil
}

// via is the machine through which a launcher works, nil if it works from here.
func via(f *config.File, l *config.Launcher, s config.Scope) (*remote.Login, error) {
	if l.Via == nil {
		return nil, nil
	}
	list, _, err := logins(f, l.Via, s)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, f.At(l.Where("via"), 0, fmt.Sprintf("via leads through one machine, and launcher ssh.%s names %d", l.Via.Name, len(list)), "")
	}
	return &list[0], nil
}

// command is the login as OpenSSH's command line has it.
func command(l remote.Login, remote string) mssh.Command {
	return mssh.Command{Target: l.Target, Jump: l.Jump, Program: l.Command, Timeout: l.Timeout, Remote: remote}
}
