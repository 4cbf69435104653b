package cli

import (
	"io"
	"os"

	"muster/internal/state"
	safe "muster/internal/terminal"
	"muster/internal/units"
)

// showKept says where results and records lie, and what earlier runs have left there.
func showKept(w io.Writer) error {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	left := ""
	if runs, bytes := state.Kept(dir); runs > 0 {
		left = "; " + plural(runs, "run") + " that ended left " + units.Megabytes(bytes) + " there, which goes after 14 days"
	}
	_, err = safe.Fprintf(w, "state folder: %s%s\n", dir, left)
	return err
}
