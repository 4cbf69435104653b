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

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/state"
	mtls "muster/tls"
)

// printPlans shows every submission.
func printPlans(c *cli.Context, s streams, pl *pool, o launchOptions) error {
	path, err := programPath()
	if err != nil {
		return err
	}
	own := false
	list := []*plan.Submission{}
	for _, d := range pl.drafts {
		names := d.Placeholders(path)
		if d.Whose != plan.Foreign {
			minted, err := mintHere(c, d, names, o)
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
		fmt.Fprintln(s.err, "muster: no dispatcher is running for them: words in capitals stand for what `muster run` makes")
	}
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
func mintHere(c *cli.Context, d *plan.Draft, names []plan.Names, o launchOptions) (minted bool, err error) {
	cluster, is := d.Kind.(*plan.Cluster)
	if is && !cluster.Places()[0].Here() {
		return false, nil
	}
	sent := len(names) > 0 && d.Kind.Places()[0].Sent
	uses := d.Workers()
	if sent {
		uses /= len(names)
	}
	wish := control.JoinRequest{Uses: uses, Valid: control.Duration(o.valid), Elsewhere: true, Loopback: d.Tunnelled(), Once: sent}
	m, err := mint(c, wish)
	if err != nil || m.run == "" {
		return false, err
	}
	// What is pasted has to find the program where it says.
	if _, err := program(); err != nil {
		return false, err
	}
	if !sent || !o.showSecrets {
		if err := m.write(); err != nil {
			return false, err
		}
	}
	for i := range names {
		n := &names[i]
		if i > 0 && sent && o.showSecrets {
			if m, err = mint(c, wish); err != nil {
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
func mint(c *cli.Context, wish control.JoinRequest) (minted, error) {
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
		return minted{}, nil
	}
	j, err := client.Join(c.Context, profile, wish)
	if err != nil {
		return minted{}, answered(err)
	}
	join, err := mtls.ParseJoin(j.Text)
	if err != nil {
		return minted{}, err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return minted{}, err
	}
	return minted{j.ID, st.Run, filepath.Join(dir, "runs", st.Run, "launches"), join}, nil
}

// programPath is where jobs find muster, which need not be there yet.
func programPath() (string, error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find muster's own path: %w", err)
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
