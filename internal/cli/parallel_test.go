package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// gnuParallel returns the path of GNU parallel.
func gnuParallel(t *testing.T) string {
	path, err := exec.LookPath("parallel")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("GNU parallel is missing")
		}
		t.Skip("GNU parallel is missing: apt-get install parallel")
	}
	if out, _ := exec.Command(path, "--version").Output(); !bytes.HasPrefix(out, []byte("GNU parallel")) {
		t.Skip("this parallel is not GNU parallel: apt-get install parallel")
	}
	return path
}

// showWords is a command that prints its words: a line for each task.
const showWords = `printf '<%s>' "$@"; echo`

// TestAsGNUParallel has GNU parallel and muster make commands of the same inputs. What is
// not in the table differs: {} of several columns or sources is one word here, and
// {-3} of two values is nothing, where GNU parallel takes the last.
func TestAsGNUParallel(t *testing.T) {
	parallel := gnuParallel(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"show": showWords, "ab": "a\nb", "odd": "1\n\n2 x\n", "abc": "a\nb\nc\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PARALLEL_HOME", t.TempDir())
	for _, c := range []struct{ in, options, words string }{
		// -0
		{"a\nb\x00\x00c", "-0", "{}"},
		{"a b\x00", "--null", "x{}"},
		{"x\x00a\x00b", "-0 --header :", "{x}"},
		// --colsep
		{"a,b\nc,d,e\n\nf\nx y,z,", "--colsep ,", ""},
		{"a,b\nc,d,e\n\nf\n", "--colsep ,", "p{1} q{2} {3} {-1} {4/}"},
		{"a  b c\n x|y\n", "--colsep \\s+", "{1} {2} {3}"},
		{"a|b.c|d\n", "-C \\|", "{1} {2.} {3}"},
		{"a\tb.x\t\tc\r\n", "--colsep \\t", "{1} {2} {3} {4} {-1}"},
		{",a,, b ,\n", "--colsep ,", ""},
		{" a , b \n", "--colsep , --trim n", ""},
		{" a \n\tb", "--trim l", "{}"},
		{" a \n\tb", "--trim lr", "{}"},
		{"", "--colsep ,", "{1} {2} ::: a,b c"},
		{"a.b,c\n", "--colsep [.,]", ""},
		// --header
		{"x,y z\nc,d/e.f\n1,2,3\n4\n", "--colsep , --header :", "{x} {y z/.} {2} {3} {-1}"},
		{"name\na b\n", "--header :", "{name}"},
		{"", "--header :", "{x}-{y} {1} ::: x 1 2 ::: y 3 4"},
		{"x\na\n", "--header : -a -", "{x}{y} ::: y 3"},
		// -N
		{"1\n2\n3\n4\n5\n6\n7", "-N 3", ""},
		{"1\n2\n3\n4\n5\n6\n7", "-N3", "a{1} {2} {3} {-1} {} p{.}q"},
		{"a,b\nc,d\ne\n", "-N2 --colsep ,", "p{1} {2} {3} {4}"},
		{"", "-N2", "{1}-{2}-{3}-{4} ::: a b c ::: 1 2"},
		{"x y\nz", "-N2", "a{}b"},
		// -X and -m
		{"1\n2.a\n\nx y\n", "-X", "pre{}post x{.} {1} {-1} {}-{#}"},
		{"1\n2\n", "-X", ""},
		{"x y\nz", "-m", "a{}b {1}"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "-X -N 4", "{}"},
		{"a,b\nc,d\n", "-X --colsep ,", "p{1} {2} q{}"},
		{"", "-X", "p{} ::: a b ::: 1 2"},
		// ::::, and several kinds of sources together
		{"", "", "{1} {2} :::: ab odd"},
		{"", "", "{1} {2} :::: ab ::::+ ab"},
		{"", "-a ab", "{2}{1} ::: x y"},
		{"q\nr\n", "-a ab", "{1} {2} {3} ::: x y :::: -"},
		{"", "-k --link", "{1}{2} :::: abc ::: 1 2"},
	} {
		t.Run(c.options+" "+c.words, func(t *testing.T) {
			want := run(t, exec.Command(parallel, line("-k -j1", c.options, "sh show", c.words)...), c.in)
			var out, complaints bytes.Buffer
			code := Main(append([]string{"muster"}, line("run --sync -n 1", c.options, "-- sh show", c.words)...), strings.NewReader(c.in), &out, &complaints)
			if code != 0 || out.String() != want || strings.Contains(complaints.String(), "muster:") {
				t.Errorf("%q: %q, exit code %d, with GNU parallel %q\n%s", c.in, out.String(), code, want, complaints.String())
			}
		})
	}
}

// line makes a command line of words with blanks between them. Braces hold blanks too.
func line(texts ...string) (words []string) {
	for _, w := range strings.Fields(strings.Join(texts, " ")) {
		if n := len(words) - 1; n >= 0 && strings.Count(words[n], "{") > strings.Count(words[n], "}") {
			words[n] += " " + w
			continue
		}
		words = append(words, w)
	}
	return words
}

func run(t *testing.T, cmd *exec.Cmd, in string) string {
	t.Helper()
	cmd.Stdin = strings.NewReader(in)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, complaints.String())
	}
	return out.String()
}

// TestPackedLines has -X make commands of more inputs than one takes.
func TestPackedLines(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("count", []byte("echo $#; printf '%s\\n' \"$@\" >>all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const n = 9000
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "%040d\n", i)
	}
	for _, options := range []string{"-n1 -X -- sh count pre{}post", "-n3 -m -- sh count {}", "-n4 --shell -X -- sh ./count {}"} {
		os.Remove("all")
		var out, complaints bytes.Buffer
		if code := Main(append([]string{"muster"}, line("run --sync", options)...), strings.NewReader(in.String()), &out, &complaints); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", options, code, complaints.String())
		}
		all, err := os.ReadFile("all")
		got := strings.NewReplacer("pre", "", "post", "").Replace(string(all))
		if err != nil || got != in.String() {
			t.Errorf("%s: %d bytes of inputs came out as %d, %v", options, in.Len(), len(got), err)
		}
		if tasks := strings.Count(out.String(), "\n"); tasks < 3 || tasks > 9 {
			t.Errorf("%s: %d tasks:\n%s", options, tasks, out.String())
		}
	}
}

func TestPackedLinesAreShared(t *testing.T) {
	for slots, want := range map[string]string{"1": "1 2 3 4 5 6 7 8 9 10\n", "3": "1 2 3 4\n5 6 7 8\n9 10\n", "20": "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"} {
		var out, complaints bytes.Buffer
		Main([]string{"muster", "run", "--sync", "-n", slots, "-X", "--", "echo"}, strings.NewReader("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"), &out, &complaints)
		if out.String() != want {
			t.Errorf("%s slots: %q\n%s", slots, out.String(), complaints.String())
		}
	}
}
