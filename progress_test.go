package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"
)

// viewer looks at the screen of a program.
type viewer struct {
	t      *testing.T
	dir    string
	tty    *os.File
	screen *screen
	chunks chan []byte // what the program prints; closed at its end
	ended  bool
}

// view starts a program at a terminal of so many columns and 12 rows, in a folder of
// its own.
func view(t *testing.T, columns int, env string, argv ...string) *viewer {
	t.Helper()
	v := &viewer{t: t, dir: t.TempDir(), screen: newScreen(columns, 12), chunks: make(chan []byte, 1<<16)}
	sockets, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = v.dir
	cmd.Env = append(os.Environ(), "TERM=xterm", "GORACE=atexit_sleep_ms=0", "HOME="+v.dir, "XDG_RUNTIME_DIR="+sockets,
		"MUSTER_STATE="+filepath.Join(v.dir, "state"), "LC_ALL=C.UTF-8", env)
	v.tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 12, Cols: uint16(columns)})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.chunks)
		for {
			b := make([]byte, 64<<10)
			n, err := v.tty.Read(b)
			if n > 0 {
				v.chunks <- b[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		v.tty.Close()
	})
	return v
}

// sight is how long something has to be on the screen for a person to see it: what one
// write has printed comes in pieces.
const sight = 10 * time.Millisecond

// look calls f with what is on the screen whenever that has changed, until f returns
// true; it reports false if the program ended before.
func (v *viewer) look(f func(rows []string) bool) bool {
	v.t.Helper()
	late := time.After(patience)
	for !f(v.screen.visible()) {
		for more := true; more; more = len(v.chunks) > 0 {
			select {
			case b, open := <-v.chunks:
				if !open {
					v.ended = true
					return false
				}
				v.screen.Write(b)
			case <-late:
				v.t.Fatalf("the screen stays\n%s", strings.Join(v.screen.visible(), "\n"))
			}
			if len(v.chunks) == 0 {
				time.Sleep(sight)
			}
		}
	}
	return true
}

// until looks until the line on the last row matches, and nowhere else is one. It
// returns the line.
func (v *viewer) until(pattern string) (last string) {
	v.t.Helper()
	re := regexp.MustCompile(pattern)
	seen := v.look(func(rows []string) bool {
		if lines(rows) != 1 {
			return false
		}
		last = rows[len(rows)-1]
		return re.MatchString(last)
	})
	if !seen {
		v.t.Fatalf("it ended before %s was seen:\n%s", pattern, strings.Join(v.screen.all(), "\n"))
	}
	return last
}

// end looks until the program has ended.
func (v *viewer) end() {
	v.t.Helper()
	v.look(func([]string) bool { return false })
	for _, s := range v.screen.strange {
		v.t.Errorf("it has written %s", s)
	}
	if n := lines(v.screen.all()); n > 0 {
		v.t.Errorf("%d lines of progress are left:\n%s", n, strings.Join(v.screen.all(), "\n"))
	}
}

// resize makes the terminal narrower.
func (v *viewer) resize(columns int) {
	v.t.Helper()
	v.screen.narrow(columns)
	if err := pty.Setsize(v.tty, &pty.Winsize{Rows: 12, Cols: uint16(columns)}); err != nil {
		v.t.Fatal(err)
	}
}

// write writes a file that tasks wait for.
func (v *viewer) write(file, text string) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, file), []byte(text), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

var progressLine = regexp.MustCompile(`(^|\s)\d+(/\d+\+?)? done`)

// lines is how many lines of progress there are.
func lines(rows []string) (n int) {
	for _, r := range rows {
		n += len(progressLine.FindAllString(r, -1))
	}
	return n
}

// held is a task that waits for a file named go.
const held = `until test -e go; do sleep 0.01; done; `

// TestProgress: as long as tasks run the line is on the last row, once, and fits; what
// is printed stands above it, whole; after the end it is gone.
func TestProgress(t *testing.T) {
	for _, columns := range []int{40, 80, 200} {
		for _, slots := range []int{1, 2, 16} {
			t.Run(fmt.Sprintf("%d columns, %d slots", columns, slots), func(t *testing.T) {
				t.Parallel()
				n := 6 + 4*slots
				argv := []string{"muster", "run", "-n", strconv.Itoa(slots), "--shell", "--", `echo result {}; sleep 0.1`, ":::"}
				want := []string{fmt.Sprintf("muster: %d tasks: %d ok, 0 failed", n, n)}
				for i := range n {
					argv = append(argv, strconv.Itoa(i))
					want = append(want, fmt.Sprintf("result %d", i))
				}
				v := view(t, columns, "", argv...)
				v.until(fmt.Sprintf(`\b0/%d done, 0 failed, \d+ running`, n))
				good, bad := 0, []string{}
				v.look(func(rows []string) bool {
					if len(rows) == 0 || strings.HasPrefix(rows[len(rows)-1], "muster: ") {
						return false
					}
					if last := rows[len(rows)-1]; lines(rows) == 1 && lines([]string{last}) == 1 && uniseg.StringWidth(last) < columns {
						good++
					} else {
						bad = append(bad, strings.Join(rows, "\n"))
					}
					return false
				})
				v.end()
				if good < 2 || 5*len(bad) > 5+good {
					t.Errorf("the line is as it is to be %d times, and %d times not:\n%s", good, len(bad), strings.Join(bad, "\n\n"))
				}
				got := v.screen.all()
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("the screen has\n%s", strings.Join(v.screen.all(), "\n"))
				}
			})
		}
	}
}

// TestProgressMoves: the clock goes on before the first result, the line follows the
// terminal's width, and input that is still read is said to be.
func TestProgressMoves(t *testing.T) {
	t.Parallel()
	v := view(t, 100, "", "sh", "-c", `{ echo 1; echo 2; until test -e go; do sleep 0.01; done; } | muster run -n 2 --shell -- '`+held+`printf "a%s\n" {}'`)
	first := v.until(`^0/2\+ done, 0 failed, 2 running, more to come, elapsed \d+s$`)
	moved := func(rows []string) bool { return lines(rows) == 1 && rows[len(rows)-1] != first }
	if !v.look(moved) {
		t.Fatal("its clock stands")
	}
	v.resize(30)
	v.until(`^0/2\+ done, 0 failed$`)
	v.write("go", "")
	v.end()
	if got := v.screen.all(); !slices.Contains(got, "a1") || !slices.Contains(got, "a2") {
		t.Errorf("the screen has %q", got)
	}
}

// TestProgressBelowPartOfALine: results without a newline stand one behind the other,
// as in a file, wide characters too, and the line is below them. Every fifth ends in the
// last column.
func TestProgressBelowPartOfALine(t *testing.T) {
	t.Parallel()
	const tasks = 27
	argv := []string{"muster", "run", "-k", "-n", "1", "--shell", "--", `printf "%s 日本 " {}; sleep 0.03; test {} != 26 || { ` + held + `}`, ":::"}
	want := ""
	for i := range tasks {
		argv = append(argv, fmt.Sprintf("%02d", i))
		want += fmt.Sprintf("%02d 日本 ", i)
	}
	v := view(t, 40, "", argv...)
	v.until(`^26/27 done, 0 failed, 1 running`)
	v.write("go", "")
	v.end()
	if got := strings.Join(v.screen.all(), "\n"); !strings.HasPrefix(got, want+"muster: 27 tasks") {
		t.Errorf("the screen has %q, not %q", got, want)
	}
}

// TestProgressOfADumbTerminal has no sequences, and no line below a part of one.
func TestProgressOfADumbTerminal(t *testing.T) {
	t.Parallel()
	v := view(t, 80, "TERM=dumb", "muster", "run", "-n", "1", "--shell", "--", `test {} != 2 || { `+held+`}; echo {}; test {} != 1 || exit 3`, ":::", "1", "2")
	v.until(`1/2 done, 1 failed, 1 running`)
	v.write("go", "")
	v.end()
	if v.screen.sequences > 0 {
		t.Errorf("it has written %d sequences", v.screen.sequences)
	}
}

// TestProgressAndJobs: Ctrl-Z removes the line and fg brings it back; in the background
// there is none, and none that stops the run where writing there does.
func TestProgressAndJobs(t *testing.T) {
	t.Parallel()
	const run = `muster run -n 1 --shell -- 'echo started >>ran; until test -e go{}; do sleep 0.01; done' ::: 1 2`
	v := view(t, 80, "", "sh", "-c", `set -m; stty tostop; `+run+`
	echo STOPPED; until test -e next; do sleep 0.01; done; bg >/dev/null; until test "$(wc -l <ran)" = 2; do sleep 0.01; done; echo BEHIND; until test -e after; do sleep 0.01; done; fg >/dev/null`)
	v.until(`0/2 done, 0 failed, 1 running`)
	v.tty.WriteString("\x1a")
	seen := func(word string) func([]string) bool {
		return func(rows []string) bool { return slices.Contains(rows, word) && lines(rows) == 0 }
	}
	v.look(seen("STOPPED"))
	v.write("next", "")
	v.write("go1", "")
	v.look(seen("BEHIND"))
	v.write("after", "")
	v.until(`1/2 done, 0 failed, 1 running`)
	v.write("go2", "")
	v.end()
}

// TestProgressLeavesSyncAlone: a task that runs in this terminal has it.
func TestProgressLeavesSyncAlone(t *testing.T) {
	t.Parallel()
	v := view(t, 80, "", "muster", "run", "--sync", "--shell", "--", "test -t 1 && test -t 2 && echo both {}", ":::", "1")
	v.end()
	if got := v.screen.all(); !slices.Contains(got, "both 1") {
		t.Errorf("the screen has %q", got)
	}
}

// TestStatusPage: the page fits into the terminal.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	v := view(t, 40, "", "sh", "-c", `muster run --run it -n 1 --shell -- '`+held+`' ::: 1 2>/dev/null & until muster status --run it >/dev/null 2>&1; do sleep 0.05; done; muster status --watch --run it`)
	shows := func(first, worker string) {
		t.Helper()
		seen := v.look(func(rows []string) bool {
			return len(rows) > 4 && strings.HasPrefix(rows[0], first) && strings.HasPrefix(rows[4], worker) && !slices.ContainsFunc(v.screen.lines, func(l line) bool { return l.goes })
		})
		if !seen {
			t.Fatalf("it ended before %q was seen", first)
		}
	}
	shows("run it: process ", "  local-1@")
	v.resize(20)
	shows("run it: process ...", "  local-1@")
	v.write("go", "")
	v.look(func([]string) bool { return false })
	if len(v.screen.strange) > 0 {
		t.Errorf("it has written %q", v.screen.strange)
	}
}

// TestDownInterrupted: who presses Ctrl-C when `muster down` asks has ended nothing.
func TestDownInterrupted(t *testing.T) {
	t.Parallel()
	v := view(t, 200, "", "sh", "-c", `trap : INT; muster up --detach; muster submit -- true; muster down
	echo "exit status $?"; muster down --yes`)
	v.look(func(rows []string) bool {
		return slices.ContainsFunc(rows, func(r string) bool { return strings.HasPrefix(r, "end it all the same?") })
	})
	v.tty.WriteString("\x03")
	v.end()
	all := strings.Join(v.screen.all(), "\n")
	for _, want := range []string{"muster: interrupted: dispatcher default goes on\nexit status 130\n", "muster: dispatcher default has ended"} {
		if !strings.Contains(all, want) {
			t.Errorf("the screen has no %q:\n%s", want, all)
		}
	}
}
