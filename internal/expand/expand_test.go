package expand

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	cols := []string{"id", "file", "a b"}
	for _, c := range []struct {
		name string
		argv []string
		o    Options
		row  []string
		want []string
	}{
		{"input", []string{"p", "{}"}, Options{Width: 1}, []string{"x y"}, []string{"p", "x y"}},
		{"appended", []string{"p", "-v"}, Options{Width: 1}, []string{"x"}, []string{"p", "-v", "x"}},
		{"each value appended", []string{"p"}, Options{Width: 2}, []string{"x", "y z"}, []string{"p", "x", "y z"}},
		{"inside a word, twice", []string{"{}-{}.{.}"}, Options{Width: 1}, []string{"a.b"}, []string{"a.b-a.b.a"}},
		{"one pass", []string{"{1}", "{2}"}, Options{Width: 2}, []string{"{2}", "{}"}, []string{"{2}", "{}"}},
		{"all values", []string{"{}", "{/}"}, Options{Width: 2}, []string{"a/b", "c/d"}, []string{"a/b c/d", "b d"}},
		{"number and slot", []string{"{#}", "{%}"}, Options{Width: 1}, []string{"x"}, []string{"7", "3"}},
		{"by number", []string{"{2}", "{2.}", "{2/}", "{2//}", "{2/.}"}, Options{Width: 2}, []string{"-", "d/f.g"}, []string{"d/f.g", "d/f", "f.g", "d", "f"}},
		{"from the end", []string{"{-1}", "{-2.}"}, Options{Width: 2}, []string{"a.b", "c"}, []string{"c", "a"}},
		{"columns", []string{"{id}", "{file/.}", "{a b}"}, Options{Width: 3, Columns: cols}, []string{"1", "d/f.g", "z"}, []string{"1", "f", "z"}},
		{"other braces stay", []string{"{print $1}", "{0}", "{-}", "{nope}", "{", "}", "{}"}, Options{Width: 1}, []string{"x"}, []string{"{print $1}", "{0}", "{-}", "{nope}", "{", "}", "x"}},
		{"braces around one", []string{"{{}}", "{{1}}"}, Options{Width: 1}, []string{"x"}, []string{"{x}", "{x}"}},
		{"renamed", []string{"{}", "@", "{1}"}, Options{Width: 1, Replace: "@"}, []string{"x"}, []string{"{}", "x", "x"}},
		{"a column's name first", []string{"{2}"}, Options{Width: 2, Columns: []string{"2", "1"}}, []string{"x", "y"}, []string{"x"}},
		{"shell", []string{"echo", "{} > {.}.out"}, Options{Width: 1, Shell: true}, []string{"it's.x"}, []string{"/bin/sh", "-c", `echo 'it'\''s.x' > 'it'\''s'.out`}},
		{"shell, appended", []string{"cat"}, Options{Width: 2, Shell: true}, []string{"a b", "c"}, []string{"/bin/sh", "-c", `cat 'a b' c`}},
		{"empty value", []string{"[{}]"}, Options{Width: 1}, []string{""}, []string{"[]"}},
	} {
		tmpl, err := Compile(c.argv, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := tmpl.Expand(c.row, 7, "3"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, w := range []string{"{3}", "{-3}", "{99.}", "{99999999999999999999}"} {
		_, err := Compile([]string{"p", w}, Options{Width: 2, Columns: []string{"id", "file"}})
		if err == nil || !strings.Contains(err.Error(), "2 values (id, file)") {
			t.Errorf("%s: error %v, want one that says what there is", w, err)
		}
	}
}

func TestNameNeedsNoPlaceholder(t *testing.T) {
	tmpl, err := CompileName("run", Options{Width: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := tmpl.Expand([]string{"x"}, 1, "1"); !slices.Equal(got, []string{"run"}) {
		t.Errorf("%q", got)
	}
}

// odd are inputs on which placeholders are easy to get wrong.
var odd = []string{"plain", "with space", "it's", `"q"`, "a\\b", "$HOME", "`id`", "*", ".bashrc", "a/.b", "a/.b.c",
	"dir/", "a/b/", "/", "//", "///", "a//b", "a//", "x.", "x..", "..", ".", "a.b/c", "a.tar.gz", "./x.y", "../", "/a",
	"/a/b.c", "a b.txt", "", " ", "\t", "l1/x\nl2/y.z", "a\nb/c", "a.t\n", "a/b\n", "a\n/", "\n", "-n", "--", "ü.é", "a./b", "a/.", "a/.."}

// TestAsGNUParallel has GNU parallel expand the same placeholders.
func TestAsGNUParallel(t *testing.T) {
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
	forms := []string{"{}", "{.}", "{/}", "{//}", "{/.}", "{1}", "{1.}", "{1/}", "{1//}", "{1/.}", "{-1.}", "{#}", "x{.}y{/}"}
	args := []string{"-0", "-k", "-j1", "printf", `%s\\0`}
	cmd := exec.Command(path, append(args, forms...)...)
	cmd.Stdin = strings.NewReader(strings.Join(odd, "\x00") + "\x00")
	cmd.Env = append(os.Environ(), "PARALLEL_HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("parallel: %v", err)
	}
	tmpl, err := Compile(forms, Options{Width: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(out), "\x00")
	if len(want) != len(odd)*len(forms)+1 {
		t.Fatalf("parallel wrote %d words for %d inputs", len(want), len(odd))
	}
	for i, in := range odd {
		for j, got := range tmpl.Expand([]string{in}, i+1, "1") {
			if w := want[i*len(forms)+j]; got != w {
				t.Errorf("%s of %q is %q, with GNU parallel %q", forms[j], in, got, w)
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"{}", "{.}{2}", "{{}}", "{id.}", "{-1/}", "{", "awk '{print $1}'"} {
		f.Add(s, "a/b.c", "{}")
	}
	f.Fuzz(func(t *testing.T, word, a, b string) {
		tmpl, err := Compile([]string{word}, Options{Width: 2, Columns: []string{"id", ""}})
		if err != nil {
			return
		}
		got := tmpl.Expand([]string{a, b}, 1, "1")
		if !strings.Contains(word, "{") && !slices.Equal(got, []string{word, a, b}) {
			t.Fatalf("%q became %q", word, got)
		}
	})
}
