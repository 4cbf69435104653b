package remote

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

func TestGoNames(t *testing.T) {
	for system, want := range map[string]string{"Linux x86_64": "linux/amd64", "Linux aarch64": "linux/arm64", "Darwin arm64": "darwin/arm64",
		"Linux ppc64le": "linux/ppc64le", "Linux armv7l": "linux/arm", "FreeBSD amd64": "freebsd/amd64", "Linux mips": "linux/", "": "/"} {
		if os, arch := goNames(system); os+"/"+arch != want {
			t.Errorf("%q is %s/%s, want %s", system, os, arch, want)
		}
	}
}

// TestStateDir has a shell expand what the machine's would.
func TestStateDir(t *testing.T) {
	for state, c := range map[string]struct{ env, want string }{
		"":                 {"HOME=/h", "/h/.local/state/muster"},
		" ":                {"HOME=/h", " "},
		"~/m":              {"HOME=/h", "/h/m"},
		"~":                {"HOME=/h o", "/h o"},
		"/a/b":             {"HOME=/h", "/a/b"},
		"/a~b":             {"HOME=/h", "/a~b"},
		"$SCRATCH/m":       {"SCRATCH=/s c", "/s c/m"},
		"/x/${SCRATCH}y/m": {"SCRATCH=1", "/x/1y/m"},
	} {
		cmd := exec.Command("sh", "-c", `d="`+stateDir(state)+`"; printf %s "$d"`)
		cmd.Env = []string{c.env}
		if out, err := cmd.Output(); err != nil || string(out) != c.want {
			t.Errorf("%q with %s is %q, %v; want %q", state, c.env, out, err, c.want)
		}
	}
	// A variable that is not set is an error, and not a folder at the root.
	if out, err := exec.Command("sh", "-c", `d="`+stateDir("$MUSTER_NOT_SET/m")+`"; echo "$d"`).CombinedOutput(); err == nil || !strings.Contains(string(out), "MUSTER_NOT_SET") {
		t.Errorf("%s, %v", out, err)
	}
	for env, want := range map[string]string{"MUSTER_STATE=/m": "/m", "XDG_STATE_HOME=/x": "/x/muster"} {
		cmd := exec.Command("sh", "-c", `printf %s "`+stateDir("")+`"`)
		cmd.Env = []string{env, "HOME=/h"}
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("with %s: %q, %v; want %q", env, out, err, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{"": "", " \n\t": "", "a\r\nb  c\n": "a b c", strings.Repeat("x", 300): strings.Repeat("x", 300),
		"begin" + strings.Repeat(" y", 200): "..." + strings.Repeat("y ", 149) + "y"} {
		if got := oneLine(text); strings.TrimPrefix(got, "... ") != strings.TrimPrefix(want, "...") {
			t.Errorf("%.20q is %q", text, got)
		}
	}
}

func TestMarkersDiffer(t *testing.T) {
	if a, b := marker(), marker(); a == b || len(a) < 24 || strings.ContainsAny(a, " \n'\"$`\\!") {
		t.Errorf("%q and %q", a, b)
	}
}

// TestSkip: what login scripts print is passed over, however it comes, and no
// byte of what follows is.
func TestSkip(t *testing.T) {
	const mark = "muster-1234\n"
	for name, c := range map[string]struct {
		noise string
		bad   bool
	}{
		"none":            {"", false},
		"a greeting":      {"welcome\n", false},
		"no line end":     {"\x1b]0;title\x07", false},
		"almost the mark": {"muster-123muster-12345\nmuster-1234\r\n", false},
		"as much as may":  {strings.Repeat("x", maxNoise-len(mark)), false},
		"too much":        {strings.Repeat("x", 2*maxNoise), true},
	} {
		for way, in := range map[string]*bufio.Reader{
			"at once":      bufio.NewReader(strings.NewReader(c.noise + mark + "rest")),
			"byte by byte": bufio.NewReader(iotest.OneByteReader(strings.NewReader(c.noise + mark + "rest"))),
		} {
			got, err := skip(in, []byte(mark))
			if (err != nil) != c.bad || len(got) > maxNoise+1 {
				t.Errorf("%s, %s: %d bytes, %v", name, way, len(got), err)
			}
			rest := make([]byte, 10)
			if n, _ := in.Read(rest[:1]); !c.bad && (string(got) != c.noise+mark || n != 1 || rest[0] != 'r') {
				t.Errorf("%s, %s: skipped %.30q, %q follows", name, way, got, rest[:n])
			}
		}
	}
	if got, err := skip(bufio.NewReader(strings.NewReader("This account is not available.\n")), []byte(mark)); err == nil || !strings.Contains(string(got), "not available") {
		t.Errorf("without a mark: %q, %v", got, err)
	}
}

// FuzzSkip: noise and what follows come apart where the first mark ends.
func FuzzSkip(f *testing.F) {
	f.Add([]byte("hello\n"), []byte("rest"))
	f.Add([]byte("m\nm\nm"), []byte("m\n"))
	mark := []byte("mm\n")
	f.Fuzz(func(t *testing.T, noise, rest []byte) {
		all := bytes.Join([][]byte{noise, mark, rest}, nil)
		in := bufio.NewReaderSize(iotest.HalfReader(bytes.NewReader(all)), 16)
		got, err := skip(in, mark)
		end := bytes.Index(all, mark) + len(mark)
		if end > maxNoise+1 {
			return
		}
		if err != nil || !bytes.Equal(got, all[:end]) {
			t.Errorf("%q: skipped %q, %v", all, got, err)
		}
	})
}
