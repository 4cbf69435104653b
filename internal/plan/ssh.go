package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	config "muster/internal/newconfig"
)

// SSHSettings are what a launcher of kind ssh can say.
type SSHSettings struct {
	Remotes       []string         `set:"remotes" doc:"the machines: ssh://user@host:port, user and port if ssh_config does not say; IPv6 in brackets; names of ssh_config" example:"[\"ssh://me@login.example.org\"]" near:"hosts,host,hostname,machines,servers,nodes,user,username,port,url,address"`
	Tunnel        bool             `set:"tunnel" doc:"workers dial their own machine and come in by the SSH session" example:"true" default:"false" near:"reverse_tunnel,remote_forward"`
	Timeout       time.Duration    `set:"timeout" doc:"for reaching one machine" example:"30s" default:"10s" near:"connect_timeout,connecttimeout"`
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
	return bad
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
