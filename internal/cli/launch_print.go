package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/self"
	"muster/internal/state"
	"muster/internal/units"
	mtls "muster/tls"
)

// printPlans shows every submission.
func printPlans(c *cli.Context, s streams, pl *pool, o launchOptions) (err error) {
	path, err := programPath()
	if err != nil {
		return err
	}
	mints := &minting{c: c}
	defer func() {
		if err != nil {
			mints.revoke()
		}
	}()
	own := false
	list := []*plan.Submission{}
	for _, d := range pl.drafts {
		names := d.Placeholders(path)
		if d.Whose != plan.Foreign {
			minted, err := mintHere(mints, d, names, o)
			if err != nil {
				return err
			}
			own = own || !minted
		}
		var p *plan.Plan
		if err := pl.e.during(func() error { p, err = d.Named(names); return err }); err != nil {
			return usageError{err}
		}
		more, err := p.Submissions()
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	if own {
		mints.sayNone(s, "run")
	}
	if slices.ContainsFunc(list, func(sub *plan.Submission) bool { return strings.Contains(sub.Shell(), config.Redacted) }) {
		s.err.Say("%s stands for what is secret: --show-secrets shows it", config.Redacted)
	}
	mints.say(s, "what is printed")
	if o.json {
		return writeJSON(s.out, list)
	}
	for i, sub := range list {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if _, err := io.WriteString(s.out, sub.Shell()); err != nil {
			return err
		}
	}
	return nil
}

// mintHere writes join files for workers that a person starts from what is printed, if
// there is a dispatcher and they need no other machine's folder, and has names speak of
// them. Where the join string is sent there is no file, and each place has one of its
// own. It reports whether it has.
func mintHere(mints *minting, d *plan.Draft, names []plan.Names, o launchOptions) (minted bool, err error) {
	cluster, is := d.Kind.(*plan.Cluster)
	if is && !cluster.Places()[0].Here() {
		return false, nil
	}
	sent := len(names) > 0 && d.Kind.Places()[0].Sent
	uses := d.Workers()
	if sent {
		uses /= len(names)
	}
	wish := control.JoinRequest{Uses: uses, Valid: units.Duration(o.valid), Elsewhere: true, Loopback: d.Tunnelled(), Once: sent}
	m, err := mints.mint(wish)
	if err != nil || m.run == "" {
		return false, err
	}
	// What is pasted has to find the program where it says.
	if _, err := program(); err != nil {
		return false, err
	}
	switch {
	case !sent:
		if err := m.write(); err != nil {
			return false, err
		}
	case !o.showSecrets: // nobody can paste it, and it says where workers would dial
		mints.takeBack(m)
	}
	for i := range names {
		n := &names[i]
		if i > 0 && sent && o.showSecrets {
			if m, err = mints.mint(wish); err != nil {
				return false, err
			}
		}
		n.Unique, n.JoinFile, n.Output, n.URL, n.Join = m.unique(i), m.file(), filepath.Dir(m.file()), m.url(), config.Redacted
		if o.showSecrets {
			n.Join = m.join.Encode()
		}
		if d.Tunnelled() {
			n.Port = n.URL[strings.LastIndexByte(n.URL, ':')+1:]
		}
	}
	return true, nil
}

// minted is a join string that a dispatcher has made.
type minted struct {
	id   string
	run  string // whose it is; empty if there is no dispatcher
	dir  string // of the run's launches
	join mtls.Join

	uses  int       // workers that it lets in
	until time.Time // when that ends
}

// minting is all that is minted for what one command prints.
type minting struct {
	c      *cli.Context
	client *control.Client
	all    []minted
	other  string // the dispatcher that is running, if it does not have the profile
}

func (t *minting) ids() (list []string) {
	for _, m := range t.all {
		list = append(list, m.id)
	}
	return list
}

// sayNone says why words in capitals stand for what a command makes.
func (t *minting) sayNone(s streams, command string) {
	why := "no dispatcher is running for them"
	if t.other != "" {
		why = "dispatcher " + t.other + " does not have their profile"
	}
	s.err.Say("%s: words in capitals stand for what `muster %s` makes", why, command)
}

// say says who may join with what was printed, and until when.
func (t *minting) say(s streams, with string) {
	workers := 0
	for _, m := range t.all {
		workers += m.uses
	}
	if workers > 0 {
		s.err.Say("%s may join with %s, until %s: %s", plural(workers, "worker"), with,
			t.all[0].until.Local().Format(time.DateTime), few(t.ids(), "join string"))
	}
}

// takeBack takes one back.
func (t *minting) takeBack(m minted) {
	t.client.Revoke(t.c.Context, m.id)
	os.Remove(m.file())
	t.all = slices.DeleteFunc(t.all, func(other minted) bool { return other.id == m.id })
}

// revoke takes all back, for a command that fails.
func (t *minting) revoke() {
	for _, m := range slices.Clone(t.all) {
		t.takeBack(m)
	}
}

// file is where the join string lies, once it is written.
func (m minted) file() string { return filepath.Join(m.dir, m.id+".join") }

func (m minted) write() error { return mtls.WriteJoinFile(m.file(), m.join) }

// url is the first that its workers dial.
func (m minted) url() string {
	for _, a := range m.join.Addrs {
		if address, tcp := strings.CutPrefix(a, "tcp:"); tcp {
			return "tls+tcp://" + address
		}
	}
	return ""
}

// unique makes names unique of what a person pastes.
func (m minted) unique(i int) string {
	return strings.ToLower(strings.ReplaceAll(m.id, "join-", "") + "-" + m.run[max(0, len(m.run)-6):] + "-" + strconv.Itoa(i+1))
}

// mint has a dispatcher make a join string, if there is one that has the profile.
func (t *minting) mint(wish control.JoinRequest) (minted, error) {
	c := t.c
	client, err := connect(c)
	if err != nil {
		return minted{}, nil
	}
	st, err := client.Status(c.Context)
	if errors.Is(err, control.ErrUnreachable) {
		return minted{}, nil
	}
	if err != nil {
		return minted{}, answered(err)
	}
	profile, err := profileOf(c, client)
	if err != nil {
		return minted{}, err
	}
	if !slices.ContainsFunc(st.Profiles, func(p control.ProfileStatus) bool { return p.Profile == profile }) {
		t.other = st.Name
		return minted{}, nil
	}
	j, err := client.Join(c.Context, profile, wish)
	if err != nil {
		return minted{}, answered(err)
	}
	t.client = client
	join, err := mtls.ParseJoin(j.Text)
	if err != nil {
		return minted{}, err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return minted{}, err
	}
	m := minted{j.ID, st.Run, filepath.Join(dir, "runs", st.Run, "launches"), join, j.Uses, j.Until}
	t.all = append(t.all, m)
	return m, nil
}

// programPath is where jobs find muster, which need not be there yet.
func programPath() (string, error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", err
	}
	exe, err := self.Path()
	if err != nil {
		return "", err
	}
	return state.BinaryPath(dir, exe)
}

// program is where programPath says, and is there when this returns.
func program() (string, error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", err
	}
	return host.ProgramFor(dir)(runtime.GOOS, runtime.GOARCH, "")
}
