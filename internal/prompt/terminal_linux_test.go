package prompt_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal, with a program at it.
type screen struct {
	t *testing.T
	master,
	slave *os.File
	shown  string // what has been read, less what was expected
	stdin  io.WriteCloser
	answer *json.Decoder
}

// newTerminal opens a pair of pseudoterminals, ptmx(4).
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	var n int
	if err == nil {
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs pseudoterminals: mount devpts on /dev/pts (%v)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx") // non-blocking, so it has deadlines
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

// sit starts the program at a terminal of its own.
func sit(t *testing.T, what string) *screen {
	t.Helper()
	s := &screen{t: t}
	s.master, s.slave = newTerminal(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), atTerminal+"="+what, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{s.slave}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		s.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.answer = json.NewDecoder(stdout)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return s
}

// shows waits until the terminal has shown a text, and returns all up to it.
func (s *screen) shows(text string) string {
	s.t.Helper()
	s.master.SetReadDeadline(time.Now().Add(late))
	for !strings.Contains(s.shown, text) {
		b := make([]byte, 4096)
		n, err := s.master.Read(b)
		if err != nil {
			s.t.Fatalf("it shows %q, and never %q: %v", s.shown, text, err)
		}
		s.shown += string(b[:n])
	}
	before, after, _ := strings.Cut(s.shown, text)
	s.shown = after
	return before + text
}

func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, text); err != nil {
		s.t.Fatal(err)
	}
}

// hides waits until what is typed is no longer shown: a question is shown before.
func (s *screen) hides() {
	s.t.Helper()
	for deadline := time.Now().Add(late); s.echoes(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("what is typed is shown")
		}
	}
}

func (s *screen) echoes() bool {
	s.t.Helper()
	state, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// hears checks what the program says next.
func (s *screen) hears(want said) {
	s.t.Helper()
	var got said
	if err := s.answer.Decode(&got); err != nil {
		s.t.Fatal(err)
	}
	if got != want {
		s.t.Errorf("it says %+v, want %+v", got, want)
	}
}

func TestTerminalShowsWhatIsTyped(t *testing.T) {
	s := sit(t, "one")
	if got := s.shows("> "); got != "[before]?[31mName??:\r\n  > " {
		t.Errorf("it shows %q", got)
	}
	s.types("  Zoë \n")
	s.shows("Zoë")
	s.hears(said{Answer: "  Zoë "})
}

func TestTerminalHidesASecret(t *testing.T) {
	s := sit(t, "hidden")
	s.shows("Password: ")
	s.hides()
	s.types("se cret\x7f7\n") // a key is taken back
	s.hears(said{Answer: "se cre7"})
	if got := s.shows("Again: "); strings.Contains(got, "cre") || !strings.HasPrefix(got, "\r\n[after][before]") {
		t.Errorf("it shows %q", got)
	}
	s.types("x\n")
	s.shows("x")
	s.hears(said{Answer: "x"})
}

// TestTerminalIsLeftAsItWas when a question is taken back; then nobody is asked
// any more, since who typed would not know what.
func TestTerminalIsLeftAsItWas(t *testing.T) {
	s := sit(t, "given up")
	s.shows("Password: ")
	s.hides()
	io.WriteString(s.stdin, "x")
	s.hears(said{Error: errEnough.Error()})
	s.hears(said{Error: "nobody can be asked: there is no terminal"})
	if !s.echoes() {
		t.Error("what is typed stays hidden")
	}
	if got := s.shows("\r\n"); strings.Contains(got, "Another") {
		t.Errorf("it shows %q", got)
	}
}

func TestTerminalAsksOneAfterAnother(t *testing.T) {
	s := sit(t, "two")
	first, second := s.shows("? "), ""
	if strings.Contains(first, "First") {
		first, second = "First?", "Second?"
	} else {
		first, second = "Second?", "First?"
	}
	s.types("1\n")
	s.hears(said{Answer: first + "1"})
	if got := s.shows("? "); !strings.Contains(got, second) {
		t.Errorf("it shows %q", got)
	}
	s.types("2\n")
	s.hears(said{Answer: second + "2"})
}

// TestTerminalDoesNotAskInVain: who waited for the terminal until he was no
// longer interested does not spoil it for others.
func TestTerminalDoesNotAskInVain(t *testing.T) {
	s := sit(t, "too late")
	s.hears(said{Error: errEnough.Error()})
	if got := s.shows("Name: "); strings.Contains(got, "Never") {
		t.Errorf("it shows %q", got)
	}
	s.types("x\n")
	s.hears(said{Answer: "x"})
}

func TestWithoutTerminal(t *testing.T) {
	for what, want := range map[string]said{"nobody": {Error: "nobody can be asked: there is no terminal"}, "present": {Answer: "false"}} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), atTerminal+"="+what, "GORACE=atexit_sleep_ms=0")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.Output()
		var got said
		if err != nil || json.Unmarshal(out, &got) != nil || got != want {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
	s := sit(t, "present")
	s.hears(said{Answer: "true"})
}
