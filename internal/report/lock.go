package report

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps others from using a file or folder that a run writes to, as long as f is
// open. name is what the user calls it. Where the file system has no locks there are
// none.
func lock(f *os.File, name string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	who := holder(f)
	if who == "" {
		who = "another run"
	}
	return fmt.Errorf("%s is being written to by %s: two runs at once would mix there; choose another name, or wait", name, who)
}
