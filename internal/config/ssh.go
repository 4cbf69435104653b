package config

import (
	"fmt"
	"strings"
	"time"
)

// SSH is what an ssh launcher says.
type SSH struct {
	Remotes       []string
	Tunnel        bool
	Timeout       time.Duration
	Command       string // of OpenSSH's client, with options
	Client        string // native, openssh, or empty
	AcceptNew     bool   // learn the key of a host never seen
	State         string // muster's folder there
	Addresses     []string
	Workdir       string
	Slots         int
	Poll          time.Duration
	Muster        string // the program there; empty is a copy of a program here
	Binary        string // the program to copy; empty is this one
	WorkerCommand string
	Bare          bool
}

// SSH evaluates an ssh launcher.
func (f *File) SSH(l *Launcher, s Scope) (*SSH, error) {
	v := f.values(&l.block, launcherSettings["ssh"], s)
	c := &SSH{Remotes: get[[]string](v, "remotes"), Tunnel: get[bool](v, "tunnel"), Timeout: get[time.Duration](v, "timeout"),
		Command: get[string](v, "command"), Client: get[string](v, "client"), AcceptNew: get[bool](v, "accept_new"),
		State: get[string](v, "state"), Addresses: get[[]string](v, "addresses"), Workdir: get[string](v, "workdir"),
		Slots: get[int](v, "slots"), Poll: get[time.Duration](v, "poll"), Muster: get[string](v, "muster"),
		Binary: get[string](v, "binary"), WorkerCommand: get[string](v, "worker_command"), Bare: get[bool](v, "bare")}
	v.oneOf("client", c.Client, "native", "openssh")
	if len(c.Remotes) == 0 && len(v.diags) == 0 {
		v.diags = append(v.diags, Diagnostic{l.Where("remotes"), "it names no machine", `remotes = ["ssh://user@host:22"]`})
	}
	for _, path := range [][2]string{{"workdir", c.Workdir}, {"muster", c.Muster}} {
		name, dir := path[0], path[1]
		if dir != "" && dir != Redacted && !strings.HasPrefix(dir, "/") {
			v.diags = append(v.diags, Diagnostic{l.Where(name), fmt.Sprintf("%s is %q, which depends on where a login begins", name, dir), "write a path from the root"})
		}
	}
	if err := statePath(c.Muster); err != nil {
		v.diags = append(v.diags, Diagnostic{l.Where("muster"), strings.Replace(err.Error(), "state", "muster", 1), `such as "/opt/muster/bin/muster"`})
	}
	if err := statePath(c.State); err != nil {
		v.diags = append(v.diags, Diagnostic{l.Where("state"), err.Error(), `such as "/scratch/me/muster" or "$SCRATCH/muster"`})
	}
	if c.Bare && c.WorkerCommand == "" {
		v.diags = append(v.diags, Diagnostic{l.Where("bare"), "bare is for the command of other people's workers", "give worker_command too"})
	}
	v.later()
	return c, f.errors(v.diags)
}

// statePath checks a folder that a shell on the other side expands: whatever
// that shell is, it must find nothing in it but variables.
func statePath(s string) error {
	if s == "" || s == Redacted {
		return nil
	}
	if s[0] != '/' && s[0] != '$' && !strings.HasPrefix(s, "~/") {
		return fmt.Errorf("state is %q, which depends on where a login begins: it starts with /, ~/ or a variable", s)
	}
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_.-$,+@:=%", r) || r == '~' && i == 0) {
			return fmt.Errorf("state is %q, and %q cannot be in it", s, string(r))
		}
	}
	return nil
}
