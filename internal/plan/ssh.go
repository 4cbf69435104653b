package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/internal/config"
	"muster/internal/remote"
	mssh "muster/ssh"
)

// SSHSettings are what a launcher of kind ssh can say.
type SSHSettings struct {
	Remotes       []string         `set:"remotes" doc:"the machines: ssh://user@host:port, user and port if ssh_config does not say; IPv6 in brackets; names of ssh_config" example:"[\"ssh://me@login.example.org\"]" near:"hosts,host,hostname,machines,servers,nodes,user,username,port,url,address"`
	Tunnel        bool             `set:"tunnel" doc:"workers dial their own machine and come in by the SSH session" example:"true" default:"false" near:"reverse_tunnel,remote_forward"`
	Timeout       time.Duration    `set:"timeout" doc:"for reaching one machine" example:"30s" unset:"10s" near:"connect_timeout,connecttimeout"`
	Client        string           `set:"client" doc:"who logs in: muster's own client, or OpenSSH's" example:"openssh" default:"native" oneof:"native,openssh"`
	Command       string           `set:"command" doc:"OpenSSH's client, with options" example:"ssh -F other_config" unset:"ssh" near:"ssh,ssh_command,args,options,ssh_options,identity_file,key,config_file"`
	AcceptNew     bool             `set:"accept_new" doc:"learn the key of a machine that was never seen" example:"true" default:"false" near:"strict_host_key_checking,known_hosts"`
	State         string           `set:"state" doc:"muster's folder on the machine" example:"$SCRATCH/muster" unset:"~/.local/state/muster" near:"state_dir,tmpdir"`
	Addresses     []string         `set:"addresses" doc:"by which names other machines reach this one" example:"[\"login-ib0\"]" unset:"all its addresses" near:"interface,interfaces"`
	Workdir       string           `set:"workdir" doc:"the folder in which tasks run, from the root" example:"/scratch/me" unset:"the folder in which the command was typed, which has to be there" near:"chdir,cwd,directory,dir,working_directory,wd"`
	Slots         int              `set:"slots" doc:"tasks at once in each worker" example:"8" unset:"as the profile says, else one a core" near:"cpus,cores,threads,nprocs,concurrency"`
	Poll          time.Duration    `set:"poll" doc:"how often machines are asked how workers stand" example:"30s" default:"10s" near:"interval,poll_interval"`
	Muster        string           `set:"muster" doc:"a muster that is there already, from the root" example:"/opt/muster/bin/muster" unset:"a copy of binary" near:"executable,muster_path"`
	Binary        string           `set:"binary" doc:"the muster on this machine that is copied there" example:"muster-linux-arm64" unset:"this one, or the one for that kind of machine"`
	WorkerCommand string           `set:"worker_command" doc:"a line of shell that is run in the place of muster's worker: other people's workers" example:"dask worker tcp://10.0.0.1:8786" unset:"muster's worker" near:"worker,cmd,run"`
	Bare          bool             `set:"bare" doc:"one login for each worker_command, and nothing around it" example:"true" default:"false"`
	Via           config.Reference `set:"via" doc:"another ssh launcher, through which this one is reached" example:"launcher.ssh.gate" unset:"as ssh_config says" kind:"ssh" near:"proxy_jump,proxy_command,proxy,bastion,gateway"`
}

// Check returns what the settings of launcher l get wrong together, or on a
// machine that is reached by a login.
func (s *SSHSettings) Check(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	if len(s.Remotes) == 0 && (!l.Has("remotes") || s.Remotes != nil) {
		add("remotes", "it names no machine", `remotes = ["ssh://user@host:22"]`)
	}
	if s.Workdir != "" && !config.StandsIn(s.Workdir) && s.Workdir[0] != '/' {
		add("workdir", fmt.Sprintf("workdir is %q, which depends on where a login begins", s.Workdir), "write a path from the root")
	}
	if err := remotePath("muster", s.Muster, "/"); err != nil {
		add("muster", err.Error(), `such as "/opt/muster/bin/muster"`)
	}
	if err := remotePath("state", s.State, "/", "~/", "$"); err != nil {
		add("state", err.Error(), `such as "/scratch/me/muster" or "$SCRATCH/muster"`)
	}
	if s.Bare && !l.Has("worker_command") {
		add("bare", "bare is for the command of other people's workers", "give worker_command too")
	}
	return append(bad, early(l, "worker_command")...)
}

// remotePath checks a path that a shell on the other side expands: whatever that
// shell is, it must find nothing in it but variables. begins are what it may begin with.
func remotePath(setting, path string, begins ...string) error {
	if path == "" || config.StandsIn(path) {
		return nil
	}
	if !slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(path, b) }) {
		return fmt.Errorf("%s is %q, which depends on where a login begins: it starts with %s", setting, path, strings.Join(begins, " or "))
	}
	for i, r := range path {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_.-$,+@:=%", r) || r == '~' && i == 0) {
			return fmt.Errorf("%s is %q, and %q cannot be in it", setting, path, string(r))
		}
	}
	return nil
}

// planSSH plans an ssh launcher.
func planSSH(x *drafting, names []Names) (*Plan, error) {
	hosts, s, err := loginsOf(x.e, x.f, x.l)
	if err != nil {
		return nil, err
	}
	k := &SSH{Hosts: hosts, Tunnel: s.Tunnel, Bare: s.Bare, Workdir: cmp.Or(s.Workdir, x.w.Dir), PerHost: max(int(x.w.Times), 0)}
	if x.w.Workers > 0 {
		k.PerHost = x.w.Workers
	}
	if err := x.bounded(k.PerHost, len(hosts)); err != nil {
		return nil, err
	}
	p := x.begin(k, s.Poll, s.Slots, s.Workdir, s.Muster)
	if p.Names = names; p.Whose == Own {
		return p, nil
	}
	if p.Whose == Foreign && s.Tunnel && x.w.Port == "" {
		return nil, x.at("tunnel", "a tunnel for other people's workers needs to know which port they dial", `url = "tcp://127.0.0.1:5555" in the profile says`)
	}
	for host := range k.Hosts {
		for i := range k.PerHost {
			text, err := x.command(p, s, host, i+1)
			if err != nil {
				return nil, err
			}
			k.Commands = append(k.Commands, text)
		}
	}
	return p, nil
}

// command is what a host's index-th worker runs, if it is not muster's own command
// line; without names it is not known if it speaks of the worker.
func (x *drafting) command(p *Plan, s *SSHSettings, host, index int) (string, error) {
	if p.Names == nil || !x.l.Mentions("worker_command") {
		return s.WorkerCommand, nil
	}
	var one SSHSettings
	err := x.fill(&one, p.Kind.(*SSH).seen(p, host, index))
	return one.WorkerCommand, err
}

// loginsOf are the machines of an ssh launcher, reached as its via says.
func loginsOf(e *config.Evaluation, f *config.File, l *config.Launcher) ([]remote.Login, *SSHSettings, error) {
	var s SSHSettings
	if err := e.Launcher(l, &s); err != nil {
		return nil, nil, err
	}
	bad := []error{f.Errors(s.Check(l))}
	var jump []mssh.Target
	if l.Via != nil {
		through, err := via(e, f, l)
		if err == nil {
			err = sameWay(f, l, &s, through)
		}
		bad = append(bad, err)
		jump = append(append(jump, through.Jump...), through.Target)
	}
	var list []remote.Login
	for i, text := range s.Remotes {
		if !config.StandsIn(text) && slices.Contains(s.Remotes[:i], text) {
			bad = append(bad, f.At(l.Where("remotes"), 0, text+" is named twice", "workers says how many are started on each"))
		}
		target, err := mssh.ParseTarget(text)
		if config.StandsIn(text) {
			target, err = mssh.Target{Host: text}, nil // it is only shown
		}
		if err != nil {
			bad = append(bad, f.At(l.Where("remotes"), 0, err.Error(), `remotes = ["ssh://user@host:22"]`))
		}
		list = append(list, remote.Login{Target: target, Jump: jump, Client: s.Client, Command: s.Command, Timeout: s.Timeout,
			AcceptNew: s.AcceptNew, State: s.State, Muster: s.Muster, Binary: s.Binary, Addresses: s.Addresses})
	}
	return list, &s, f.Join(bad...)
}

// sameWay checks that the launcher that leads to a machine does not ask for another
// way of logging in than the machine's own: it is one login.
func sameWay(f *config.File, l *config.Launcher, s *SSHSettings, through remote.Login) error {
	for _, c := range []struct {
		name  string
		other bool
	}{{"client", through.Client != s.Client}, {"command", through.Command != "" && through.Command != s.Command},
		{"timeout", l.Via.Has("timeout") && through.Timeout != s.Timeout}, {"accept_new", through.AcceptNew && !s.AcceptNew}} {
		if c.other && l.Via.Has(c.name) {
			return f.At(l.Where("via"), 0, fmt.Sprintf("launcher ssh.%s has a %s that this one has not, and both are one login", l.Via.Name, c.name), "give this one the same "+c.name)
		}
	}
	return nil
}

// via is the login through which a launcher works; zero if it works from here.
func via(e *config.Evaluation, f *config.File, l *config.Launcher) (remote.Login, error) {
	if l.Via == nil {
		return remote.Login{}, nil
	}
	list, _, err := loginsOf(e, f, l.Via)
	if err != nil {
		return remote.Login{}, err
	}
	if program, unknown := e.Unknown(&l.Via.Block, "remotes"); unknown {
		return remote.Login{Target: mssh.Target{Host: "[output of " + program + "]"}}, nil
	}
	if len(list) != 1 {
		return remote.Login{}, f.At(l.Where("via"), 0, fmt.Sprintf("via leads through one machine, and launcher ssh.%s names %d", l.Via.Name, len(list)), "")
	}
	return list[0], nil
}
