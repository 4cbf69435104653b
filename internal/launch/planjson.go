package launch

import (
	"encoding/json"
	"fmt"
	"time"

	"muster/hpc"
	"muster/internal/remote"
)

// planText is a plan on its way from the command that was typed, which has
// evaluated the config, to the process that submits it.
type planText struct {
	Profile      string         `json:"profile"`
	Launcher     string         `json:"launcher"`
	Scheduler    string         `json:"scheduler,omitempty"` // none by SSH
	Arrays       []*hpc.Array   `json:"arrays"`
	Slots        int            `json:"slots"`
	Foreign      string         `json:"foreign,omitempty"`
	Poll         time.Duration  `json:"poll"`
	JoinInScript bool           `json:"join_in_script,omitempty"`
	Muster       string         `json:"muster,omitempty"`
	Before       []string       `json:"before,omitempty"`
	Job          hpc.Job        `json:"job"`
	Bare         bool           `json:"bare,omitempty"`
	Command      []string       `json:"command"`
	Walltime     time.Duration  `json:"walltime,omitempty"`
	Estimate     time.Duration  `json:"estimate,omitempty"`
	Options      WorkerOptions  `json:"options"`
	Dir          string         `json:"dir,omitempty"`
	Via          *remote.Login  `json:"via,omitempty"`
	Hosts        []remote.Login `json:"hosts,omitempty"`
	PerHost      int            `json:"per_host,omitempty"`
	Tunnel       bool           `json:"tunnel,omitempty"`
	Port         string         `json:"port,omitempty"`
}

// MarshalJSON writes the evaluated plan, with its secrets.
func (p *Plan) MarshalJSON() ([]byte, error) {
	scheduler := ""
	if p.Dialect != nil {
		scheduler = p.Dialect.Name
	}
	return json.Marshal(planText{p.Profile, p.Launcher, scheduler, p.Arrays, p.Slots, p.foreign, p.Poll, p.JoinInScript,
		p.Muster, p.Before, p.job, p.bare, p.command, p.walltime, p.estimate, p.options,
		p.dir, p.Via, p.Hosts, p.PerHost, p.Tunnel, p.Port})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Plan) UnmarshalJSON(b []byte) error {
	var t planText
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	d := hpc.Dialects[t.Scheduler]
	if d == nil && len(t.Hosts) == 0 {
		return fmt.Errorf("a plan for the scheduler %q, which is not known here", t.Scheduler)
	}
	*p = Plan{Profile: t.Profile, Launcher: t.Launcher, Dialect: d, Arrays: t.Arrays, Slots: t.Slots, Foreign: t.Foreign != "",
		Poll: t.Poll, JoinInScript: t.JoinInScript, Muster: t.Muster, Before: t.Before, job: t.Job, bare: t.Bare, command: t.Command,
		walltime: t.Walltime, estimate: t.Estimate, foreign: t.Foreign, options: t.Options,
		dir: t.Dir, Via: t.Via, Hosts: t.Hosts, PerHost: t.PerHost, Tunnel: t.Tunnel, Port: t.Port}
	return nil
}
