package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

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
			minted, err := mintHere(c, d, names)
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

// mintHere writes a join file for workers that a person starts from what is printed,
// if there is a dispatcher and they need no other machine's folder, and has names speak
// of it. It reports whether it has.
func mintHere(c *cli.Context, d *plan.Draft, names []plan.Names) (minted bool, err error) {
	cluster, is := d.Kind.(*plan.Cluster)
	if is && !cluster.Places()[0].Here() {
		return false, nil
	}
	file, url, err := mint(c, d.Workers(), d.Tunnelled())
	if err != nil || file == "" {
		return false, err
	}
	// What is pasted has to find the program where it says.
	if _, err := program(); err != nil {
		return false, err
	}
	for i := range names {
		n := &names[i]
		n.JoinFile, n.Output, n.URL = file, filepath.Dir(file), url
		if d.Tunnelled() {
			n.Port = url[strings.LastIndexByte(url, ':')+1:]
		}
	}
	return true, nil
}

// mint writes a join file, if there is a dispatcher; it returns "" if not. For a tunnel
// it has the address of this machine's loopback alone. url is the first that workers
// dial.
func mint(c *cli.Context, workers int, tunnel bool) (file, url string, err error) {
	client, err := connect(c)
	if err != nil {
		return "", "", nil
	}
	st, err := client.Status(c.Context)
	if errors.Is(err, control.ErrUnreachable) {
		return "", "", nil
	}
	if err != nil {
		return "", "", answered(err)
	}
	profile, err := profileOf(c, client)
	if err != nil {
		return "", "", err
	}
	if !slices.ContainsFunc(st.Profiles, func(p control.ProfileStatus) bool { return p.Profile == profile }) {
		return "", "", nil
	}
	j, err := client.Join(c.Context, profile, control.JoinRequest{Uses: workers, Valid: control.Duration(joinValid), Elsewhere: true, Loopback: tunnel})
	if err != nil {
		return "", "", answered(err)
	}
	join, err := mtls.ParseJoin(j.Text)
	if err != nil {
		return "", "", err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", "", err
	}
	for _, a := range join.Addrs {
		if address, tcp := strings.CutPrefix(a, "tcp:"); tcp {
			url = "tls+tcp://" + address
			break
		}
	}
	file = filepath.Join(dir, "runs", st.Run, "launches", j.ID+".join")
	return file, url, mtls.WriteJoinFile(file, join)
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
