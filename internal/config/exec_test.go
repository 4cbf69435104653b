package config_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
	"muster/internal/plan"
)

// account evaluates account = exec(["sh", "-c", script]) in a folder.
func account(t *testing.T, dir, script string, opts config.Options) (string, error) {
	t.Helper()
	src := "launcher \"cluster\" \"a\" {\n  account = exec([\"sh\", \"-c\", " + strconv.Quote(script) + "])\n}"
	f, err := config.Parse(filepath.Join(dir, "muster.hcl"), []byte(src), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var s plan.ClusterSettings
	err = f.Evaluate(opts).Launcher(f.Launchers[0], &s)
	return s.Account, err
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	for script, want := range map[string]string{
		"echo a; echo b":                  "a\nb",
		"printf 'a\\n\\n'":                "a\n",
		"true":                            "",
		"pwd -P":                          dir,
		"cat; echo end":                   "end", // nobody writes to it
		"sleep 30 & echo x":               "x",   // what it leaves running keeps its output open
		"sleep 30 >&2 & echo x":           "x",
		"printf %01000000d 0 | tr -d '0'": "",
	} {
		start := time.Now()
		got, err := account(t, dir, script, config.Options{})
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", script, got, err, want)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %s", script, took)
		}
	}
}

func TestExecFails(t *testing.T) {
	dir := t.TempDir()
	for script, wants := range map[string][]string{
		"echo no key >&2; exit 3":                            {"muster.hcl:2:13: exec(): sh: exit status 3; it said: no key"},
		"printf '\\033]0;x\\007' >&2; exit 1":                {"it said: ?]0;x?"},
		"yes start | head -c 9996 >&2; echo end >&2; exit 1": {"it said: start\nstart\nstart\nstart\nend\n"},
		"printf 'a\\000b'":                                   {"it printed a NUL byte"},
		"yes":                                                {"sh: it was ended: it printed more than 1048576 bytes"},
		"yes 2>/dev/null || sleep 100":                       {"it printed more than 1048576 bytes"},
		"kill -9 $$":                                         {"signal: killed"},
		": </dev/tty":                                        {"exit status", "/dev/tty"}, // at once, and not stopped
	} {
		_, err := account(t, dir, script, config.Options{})
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", script, err, want)
			}
		}
		if err != nil && len(err.Error()) > 4000 {
			t.Errorf("%s: an error of %d bytes", script, len(err.Error()))
		}
	}
	f := parse(t, "launcher \"cluster\" \"a\" {\n  account = exec([\"no-such-helper\"])\n}")
	var s plan.ClusterSettings
	if err := f.Evaluate(config.Options{}).Launcher(f.Launchers[0], &s); err == nil || !strings.Contains(err.Error(), "no-such-helper") || !strings.Contains(err.Error(), "not found") {
		t.Errorf("%v", err)
	}
}

// ended waits until the process has ended whose number is in a file, and reports
// whether it has.
func ended(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
		if _, state, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(state, "Z") {
			return true
		}
	}
	return false
}

// TestExecIsEnded: by its deadline and by the context, with all that it started,
// though children keep its pipes.
func TestExecIsEnded(t *testing.T) {
	const script = "sleep 100 & echo $! >child; echo half; wait"
	dir := t.TempDir()
	start := time.Now()
	_, err := account(t, dir, script, config.Options{ExecTime: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "it was ended: it ran for 300ms") {
		t.Errorf("%v", err)
	}
	if !ended(t, filepath.Join(dir, "child")) {
		t.Error("its child lives")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for time.Since(start) < 20*time.Second {
			if b, _ := os.ReadFile(filepath.Join(dir, "again")); len(b) > 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err = account(t, dir, strings.ReplaceAll(script, "child", "again"), config.Options{Context: ctx})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "muster.hcl:2:13: exec(): sh: it was ended: context canceled") {
		t.Errorf("%v", err)
	}
	if !ended(t, filepath.Join(dir, "again")) {
		t.Error("its child lives")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	// Nothing is started when the command has been interrupted already.
	if _, err := account(t, dir, "touch started", config.Options{Context: ctx}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
		t.Error("it was started")
	}
}

// TestExecStderr: what a helper says is passed on as it says it, safe to print.
func TestExecStderr(t *testing.T) {
	var said bytes.Buffer
	if _, err := account(t, t.TempDir(), "printf 'touch your key\\033[1m \\303' >&2; sleep 0.1; printf '\\274\\n' >&2; echo x", config.Options{Stderr: &said}); err != nil || said.String() != "touch your key?[1m ü\n" {
		t.Errorf("%q, %v", said.String(), err)
	}
}
