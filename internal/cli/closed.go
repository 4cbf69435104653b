package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// closedOutput counts what is written to a standard output that was closed when the
// program started. The command does its work; then Main says what was lost.
type closedOutput struct{ lost atomic.Int64 }

// Write counts p.
func (c *closedOutput) Write(p []byte) (int, error) {
	c.lost.Add(int64(len(p)))
	return len(p), nil
}

// wasClosed reports whether a stream was closed when the program started. Go's runtime
// has opened /dev/null for it, for reading and writing; who wants nothing of the output
// redirects it to one that is opened for writing, or has all three streams there, as
// daemons do, or is a program of a language whose libraries open it for both.
func wasClosed(stdout io.Writer, stdin io.Reader) bool {
	return isNullBothWays(stdout) && !isNullBothWays(stdin) && !opensNullBothWays(parentName())
}

// opensNullBothWays reports whether a program of this name runs a language whose way to
// drop a child's output is a /dev/null for reading and writing, such as Python's
// subprocess.DEVNULL and Node's stdio: "ignore".
func opensNullBothWays(name string) bool {
	return slices.ContainsFunc([]string{"python", "node", "ruby", "perl", "java", "Rscript", "R"}, func(language string) bool {
		version, is := strings.CutPrefix(name, language)
		return is && strings.Trim(version, "0123456789.") == ""
	})
}

// parentName is the name of the parent's program, as proc(5) has it in comm; empty where
// that cannot be read.
func parentName() string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	return strings.TrimSpace(string(name))
}

// isNullBothWays reports whether a stream is /dev/null, opened for reading and writing.
func isNullBothWays(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	if err != nil || nullErr != nil || !os.SameFile(st, null) {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// reportLost is the exit code of a command whose output is lost.
func (s streams) reportLost(c *closedOutput, code int) int {
	n := c.lost.Load()
	if n == 0 {
		return code
	}
	s.err.Say("standard output is closed: %s lost", plural(int(n), "byte"))
	s.err.Hint("`>FILE` keeps the output, and `>/dev/null` drops it")
	return max(code, exitFailure)
}
