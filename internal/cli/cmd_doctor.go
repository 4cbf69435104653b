package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/internal/stall"
	safe "muster/internal/terminal"
	mssh "muster/ssh"
)

// newDoctor is `muster doctor`.
func newDoctor(s streams) *cli.Command {
	var o doctorOptions
	return &cli.Command{
		Name:      "doctor",
		Usage:     "walk the route to a profile's workers and say where it breaks",
		UsageText: "muster doctor -p PROFILE [--no-job] [--json]",
		Description: `It goes step by step: the name of the machine, its port, its host key, the login,
what system it is, whether muster can be put there and run, whether workers could
dial back, whether the scheduler's commands are there; and at last a job of one
minute whose worker dials back and runs one task. At the first step that fails it
says what to do, and ends with 1. What it started it takes back.

   muster doctor -p cluster
   muster doctor -p cluster --no-job`,
		Flags: append(append(poolFlags(),
			&cli.BoolFlag{Name: "no-job", Destination: &o.noJob, Usage: "submit nothing: look at the route only"},
			&cli.DurationFlag{Name: "wait", Destination: &o.wait, Value: 2 * time.Minute, Usage: "give the job `DURATION` to start and dial back"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			return runDoctor(c, s, o)
		},
	}
}

type doctorOptions struct {
	noJob, json bool
	wait        time.Duration
}

// finding is one step of the route.
type finding struct {
	Launcher string `json:"launcher"`
	Step     string `json:"step"`
	OK       bool   `json:"ok"`
	Found    string `json:"found"`
	Hint     string `json:"hint,omitempty"`
}

// doctor walks the route of one profile.
type doctor struct {
	s     streams
	o     doctorOptions
	h     *host.Host
	dir   string
	asker string
	bar   *progress
	over  chan struct{} // has something when the last worker that was asked for has ended

	mu       sync.Mutex // guards all below
	launcher string
	said     string // the last word of what watches over jobs
	findings []finding
}

func runDoctor(c *cli.Context, s streams, o doctorOptions) error {
	f, profile, found, err := findPool(c)
	if err != nil {
		return usageError{err}
	}
	if !found || len(profile.Launchers) == 0 {
		return usageError{hinted{errors.New("doctor: the profile starts its workers on this machine, and there is no route to them"), "-p names a profile with a launcher; a worker that is started by hand says itself why it cannot join"}}
	}
	dir, err := taskDir("")
	if err != nil {
		return usageError{err}
	}
	pl, err := newPool(evaluate(c, s, f, config.Run, false), profile, asConfigured(plan.Wish{Dir: dir, Workers: onePer(len(profile.Launchers)), Life: shortLife}))
	if err != nil {
		return usageError{err}
	}
	bar, s := newCopyProgress(s)
	defer bar.end()
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	opt, err := hostOptions(s, log, bar)
	if err != nil {
		return err
	}
	d := &doctor{s: s, o: o, dir: dir, bar: bar, over: make(chan struct{}, 1)}
	opt.Say = func(format string, args ...any) {
		d.mu.Lock()
		d.said = fmt.Sprintf(format, args...)
		d.mu.Unlock()
		d.tell(format, args...)
	}
	opt.Step = func(what, found string) { d.ok(what, found) }
	ctx, stop := disposition.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	asker, end, err := answer(bar)
	if err != nil {
		return err
	}
	defer end()
	if d.asker = asker; asker == "" {
		opt.Askpass = nil
	}
	if d.h, err = host.Open(opt); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, d.leaveAtNext)()
	stopTelling := tellWaits(ctx, d.tell, unasked(d.bar, d.outlook))
	walked := d.walk(ctx, pl)
	stopTelling()
	out, cancel := context.WithTimeout(context.Background(), recallPatience)
	defer cancel()
	stopTelling = tellWaits(ctx, d.tell, doing("waiting for what was started to be gone; after Ctrl-C `muster down` ends it"))
	closed := d.h.Close(out, endPatience)
	stopTelling()
	if ctx.Err() != nil {
		return errors.Join(exitError(exitInterrupted), closed)
	}
	if o.json {
		walked = errors.Join(walked, writeJSON(s.out, append([]finding{}, d.findings...)))
	}
	return errors.Join(walked, closed)
}

// tell says something above what is shown of copies.
func (d *doctor) tell(format string, args ...any) { d.s.err.Say(format, args...) }

// outlook is how the walk stands: what has been found, and why no worker comes.
func (d *doctor) outlook(context.Context) outlook {
	var o outlook
	st := control.Describe(d.h, "doctor", "run")
	for _, p := range st.Profiles {
		for i := range p.Reasons {
			p.Reasons[i].Hint = "" // no other command reaches the doctor's dispatcher
		}
		o.add(st, p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o.mark.own = int64(len(d.findings))
	if len(o.why) == 0 {
		text := "still on the way to the workers of launcher " + d.launcher
		o.why = []stall.Reason{{Key: text, Text: fmt.Sprintf("%s, after %s", text, count(len(d.findings), "step", "steps"))}}
	}
	return o
}

// leaveAtNext says what an interrupt brings about, and leaves at the next one.
func (d *doctor) leaveAtNext() {
	again := make(chan os.Signal, 1)
	disposition.Notify(again, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	d.s.err.Say("interrupted: taking back what was submitted; press Ctrl-C again to leave it to `muster down`")
	<-again
	if err := d.h.Leave(); err != nil {
		d.s.err.Say("%v", err)
	}
	d.bar.leave()
	os.Exit(exitInterrupted)
}

// onePer is the -n with which each of so many launchers starts as little as it
// can: several launchers take no -n.
func onePer(launchers int) int {
	if launchers == 1 {
		return 1
	}
	return 0
}

func (d *doctor) ok(step, found string) { d.note(finding{Step: step, OK: true, Found: found}) }

func (d *doctor) note(f finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.Launcher = d.launcher
	d.findings = append(d.findings, f)
	if d.o.json {
		return
	}
	word := "ok  "
	if !f.OK {
		word = "FAIL"
	}
	safe.Fprintf(d.s.out, "%s  %s: %s: %s\n", word, f.Launcher, f.Step, safe.Text(f.Found))
	if f.Hint != "" {
		safe.Fprintf(d.s.out, "      hint: %s\n", safe.Text(f.Hint))
	}
}

// fail notes the step that broke and ends the walk.
func (d *doctor) fail(step string, err error, hint string) error {
	d.note(finding{Step: step, Found: err.Error(), Hint: hint})
	return exitError(exitFailure)
}

func (d *doctor) walk(ctx context.Context, pl *pool) error {
	for _, p := range pl.drafts {
		d.mu.Lock()
		d.launcher, d.said = p.Launcher, ""
		d.mu.Unlock()
		if err := d.route(ctx, p); err != nil {
			return err
		}
		noJob := p.Whose == plan.Foreign || d.o.noJob
		if noJob && !hasRoute(p) {
			d.ok("route", "there is nothing to look at before a worker is asked for: `muster launch -p "+pl.name+" --print` shows how it would be")
		}
		if noJob {
			continue
		}
		if err := d.job(ctx, pl, p); err != nil {
			return err
		}
	}
	return nil
}

// hasRoute reports whether there is something on the way to a launcher's workers that
// can be looked at before they are asked for.
func hasRoute(p *plan.Draft) bool {
	_, is := p.Kind.(*plan.Cluster)
	return is || slices.ContainsFunc(p.Kind.Places(), func(place plan.Place) bool { return !place.Here() })
}

// route looks at all that comes before a job.
func (d *doctor) route(ctx context.Context, p *plan.Draft) error {
	for _, place := range p.Kind.Places() {
		if place.Here() {
			continue
		}
		if err := d.machine(ctx, place.Login); err != nil {
			return err
		}
	}
	if _, is := p.Kind.(*plan.Cluster); !is {
		return nil
	}
	version, err := d.h.Fleet().Version(ctx, p.Plan, d.asker)
	if err != nil {
		return d.fail("scheduler", err, schedulerHint(p))
	}
	d.ok("scheduler", version)
	return nil
}

// schedulerHint is what to do when a scheduler's command does not answer.
func schedulerHint(p *plan.Draft) string {
	if p.Kind.Places()[0].Here() {
		return "scheduler = says which one it is, and command = where its submit command is; if that is on a login node, via = launcher.ssh.NAME leads there"
	}
	return "scheduler = says which one it is, and command = where its submit command is; `setup` and a login shell do not help muster itself, which needs it in the PATH of a login without a terminal"
}

// machine logs in to one, and looks whether it forwards.
func (d *doctor) machine(ctx context.Context, l remote.Login) error {
	if len(l.Jump) == 0 && l.Client != mssh.OpenSSH {
		if addrs, err := net.DefaultResolver.LookupHost(ctx, l.Target.Host); err == nil {
			d.ok("name", l.Target.Host+" is "+strings.Join(addrs, ", "))
		}
	}
	site, err := d.h.LogInTo(ctx, l, d.asker)
	if err != nil {
		return d.fail(stepOf(err), err, hintOf(err))
	}
	h := site.Hello()
	d.ok("relay", fmt.Sprintf("muster %s answers as %s on %s", h.Build, h.User, h.Host))
	if err := site.CanForward(ctx); err != nil {
		d.ok("forwarding", fmt.Sprintf("not permitted (%v): muster's own workers do not need it, a printed `ssh -R` does", err))
	} else {
		d.ok("forwarding", "permitted")
	}
	return nil
}

// stepOf is where on the route a login broke.
func stepOf(err error) string {
	// A login through a jump host may have failed at both.
	for _, k := range []struct {
		kind error
		step string
	}{{mssh.ErrForward, "jump host"}, {mssh.ErrResolve, "name"}, {mssh.ErrConnect, "port"}, {mssh.ErrHostKey, "host key"},
		{mssh.ErrAuth, "login"}, {mssh.ErrLost, "link"}} {
		if errors.Is(err, k.kind) {
			return k.step
		}
	}
	return "muster there"
}

func hintOf(err error) string {
	switch {
	case errors.Is(err, mssh.ErrResolve):
		return "is the host's name right in remotes, or as a Host in ~/.ssh/config? names inside a site may need a VPN or via"
	case errors.Is(err, mssh.ErrConnect):
		return "is the port right, and is a VPN needed? `ssh -v` to the same place shows how far it gets"
	case errors.Is(err, mssh.ErrAuth):
		return "`ssh` to the same place should log in: if it does and this does not, client = \"openssh\" uses it"
	}
	return ""
}
