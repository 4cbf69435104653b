package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"muster/internal/plan"
)

// detached reports whether a plan is carried out by OpenSSH's client, which then is
// nobody's business here: there is no record of it, and nothing is logged in to.
func detached(p *plan.Plan) bool {
	_, ssh := p.Kind.(*plan.SSH)
	return ssh && p.Whose == plan.Foreign
}

// detach runs OpenSSH's client as `launch --print` shows it. It goes to the background
// once it has logged in, and asks at the terminal itself.
func (f *Fleet) detach(ctx context.Context, p *plan.Plan) error {
	list, err := p.Submissions()
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := background(ctx, s.Argv); err != nil {
			return fmt.Errorf("launcher %s: %w", p.Launcher, err)
		}
		f.Say("launcher %s: %s on the way by %s", p.Launcher, count(s.Workers, "worker"), strings.Join(s.Argv[:len(s.Argv)-1], " "))
	}
	return nil
}

// count is a number of things, in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// background runs ssh -f: it returns when that has forked. Its output is a file, since
// a pipe would stay open as long as the tunnel.
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
