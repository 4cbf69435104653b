package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/internal/remote"
)

// atOnce is how many machines are logged in to at a time: a jump host drops
// logins at random when more than ten are under way (MaxStartups,
// sshd_config(5)).
const atOnce = 8

// LogIn logs in to the machines that plans need, as far as that has not been
// done, and keeps those links until leave is called.
func (f *Fleet) LogIn(ctx context.Context, plans []*Plan, socket string) (leave func(), err error) {
	var list []remote.Login
	for _, p := range plans {
		if p.Via != nil {
			list = append(list, *p.Via)
		}
		if !p.Foreign {
			list = append(list, p.Hosts...)
		}
	}
	var mu sync.Mutex // guards sites
	var sites []*remote.Site
	leave = func() {
		for _, site := range sites {
			f.Sites.Leave(site)
		}
	}
	err = each(list, func(l remote.Login) error {
		site, err := f.Sites.Open(ctx, l, socket)
		if err == nil {
			mu.Lock()
			sites = append(sites, site)
			mu.Unlock()
		}
		return err
	})
	if err != nil {
		leave()
		return func() {}, err
	}
	return leave, nil
}

// each does something for several logins at a time.
func each(list []remote.Login, do func(remote.Login) error) error {
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	failed := make([]error, len(list))
	for i, l := range list {
		room <- struct{}{}
		wg.Go(func() {
			failed[i] = do(l)
			<-room
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// startAll starts the plan's workers on each of its machines.
func (f *Fleet) startAll(ctx context.Context, p *Plan, socket string) (ids []string, err error) {
	var mu sync.Mutex // guards ids
	err = each(p.Hosts, func(l remote.Login) error {
		id, err := f.start(ctx, p, l, socket)
		if id != "" {
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
		}
		return err
	})
	return ids, err
}

// start starts workers on one machine and returns the launch's name if there are
// any.
func (f *Fleet) start(ctx context.Context, p *Plan, l remote.Login, socket string) (id string, err error) {
	site, err := f.Sites.Open(ctx, l, socket)
	if err != nil {
		return "", err
	}
	defer f.Sites.Leave(site)
	if err := p.ready(ctx, site); err != nil {
		return "", err
	}
	f.follow(site)
	c := f.crew(site)
	name := p.Launcher + "-" + unique()
	g := &group{Record: &Record{Name: name, ID: name, Launcher: p.Launcher, Workers: p.PerHost, Via: &l, Sent: time.Now().UTC(), dir: f.Dir},
		keeper: c, office: office{site: site}, at: there{site}, poll: p.Poll, profile: p.Profile, members: map[int]*member{}}
	n := p.Placeholders(site.Program())
	defer func() {
		if err != nil && len(g.Processes) == 0 {
			g.unmake()
		}
	}()
	if err := f.begin(ctx, p, g, &n); err != nil {
		return "", fmt.Errorf("%s: %w", l.Target, err)
	}
	// Workers are recorded before they are started as far as that can be: those
	// that a crash leaves unrecorded find their join file gone, or end when
	// nobody answers.
	if err := g.write(); err != nil {
		return "", err
	}
	g.Processes, err = c.start(ctx, p, name, n)
	for i := range g.Processes {
		g.members[i+1] = &member{}
	}
	if len(g.Processes) == 0 {
		return "", err
	}
	f.add(g)
	f.Log.Info("started", "launcher", p.Launcher, "on", l.Target.String(), "workers", len(g.Processes))
	return name, errors.Join(err, g.write())
}

// crew returns the workers of a machine.
func (f *Fleet) crew(site *remote.Site) *crew {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crews == nil {
		f.crews = map[*remote.Site]*crew{}
	}
	if f.crews[site] == nil {
		f.crews[site] = &crew{site: site, launches: map[string][]Process{}}
	}
	return f.crews[site]
}

// startForeign runs OpenSSH's client as `launch --print` shows it. It goes to
// the background once it has logged in, and is from then on nobody's business
// here; it asks at the terminal itself.
func (f *Fleet) startForeign(ctx context.Context, p *Plan) error {
	list, err := p.Submissions(Names{Port: p.Port})
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := background(ctx, s.Argv); err != nil {
			return fmt.Errorf("launcher %s: %w", p.Launcher, err)
		}
		f.Say("launcher %s: %s on the way by %s", p.Launcher, count(s.Workers), strings.Join(s.Argv[:len(s.Argv)-1], " "))
	}
	return nil
}

func count(workers int) string {
	if workers == 1 {
		return "1 worker"
	}
	return strconv.Itoa(workers) + " workers"
}

// background runs ssh -f: it returns when that has forked. Its output is a file,
// since a pipe would stay open as long as the tunnel.
func background(ctx context.Context, argv []string) error {
	said, err := os.CreateTemp("", "muster-ssh-*")
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = said
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(said.Name())
		return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(b[max(0, len(b)-1000):])))
	}
	return nil
}
