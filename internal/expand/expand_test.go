package expand

import (
	"bytes"
	"fmt"
	"math"
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
		{"shell", []string{"echo", "{} > {.}.out"}, Options{Width: 1, Shell: "/bin/sh"}, []string{"it's.x"}, []string{"/bin/sh", "-c", `echo 'it'\''s.x' > 'it'\''s'.out`}},
		{"shell, appended", []string{"cat"}, Options{Width: 2, Shell: "/bin/sh"}, []string{"a b", "c"}, []string{"/bin/sh", "-c", `cat 'a b' c`}},
		{"a share is no input", []string{"p", "x{share:d}"}, Options{Width: 1, Share: mark}, []string{"v"}, []string{"p", "x<d>", "v"}},
		{"a share and an input", []string{"{share:d}{}", "{share:no}{share:}"}, Options{Width: 1, Share: mark}, []string{"{share:d}"}, []string{"<d>{share:d}", "{share:no}{share:}"}},
		{"no shares", []string{"{share:d}", "{}"}, Options{Width: 1}, []string{"v"}, []string{"{share:d}", "v"}},
		{"a share in a shell", []string{"wc <{share:d}"}, Options{Width: 1, Shell: "/bin/sh", Share: mark}, []string{"a b"}, []string{"/bin/sh", "-c", `wc <<d> 'a b'`}},
		{"a column's name before a share", []string{"{share:d}"}, Options{Width: 1, Columns: []string{"share:d"}, Share: mark}, []string{"v"}, []string{"v"}},
		{"a share in a table", []string{"{share:d}", "{share:no}", "{id}"}, Options{Width: 2, Columns: []string{"id", "share"}, Share: mark}, []string{"v", "w"}, []string{"<d>", "{share:no}", "v"}},
		{"no shares in a table", []string{"{share:d}", "{id}"}, Options{Width: 2, Columns: []string{"id", "share"}}, []string{"v", "w"}, []string{"{share:d}", "v"}},
		{"a share's text, literally", []string{"{share:d}", "{}"}, Options{Width: 1, Share: mark, Literal: []string{"share:d"}}, []string{"v"}, []string{"{share:d}", "v"}},
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

// mark knows one share, d.
func mark(name string) (string, bool) { return "<" + name + ">", name == "d" }

func TestShares(t *testing.T) {
	for word, want := range map[string]string{"": "", "x": "x", "{share:d}": "<d>", "a{share:d}b{share:d}": "a<d>b<d>", "{share:e}{share:d}": "{share:e}<d>",
		"{share:d": "{share:d", "{share:{share:d}": "{share:<d>", "{} {1} {%}": "{} {1} {%}"} {
		if got := Shares(word, mark); got != want {
			t.Errorf("%q became %q, want %q", word, got, want)
		}
	}
}

// TestAnyColumnCanBeNamed asserts that a name is found whatever it holds.
func TestAnyColumnCanBeNamed(t *testing.T) {
	columns := []string{"sample id", "a-b", "größe", "1", "x}y", "#", "a", "a.", "%", "", ".", "{q}", "print", "x:y"}
	var row []string
	for i := range columns {
		row = append(row, fmt.Sprintf("v%d/w.x", i))
	}
	o := Options{Columns: columns, Width: len(columns)}
	for i, c := range columns {
		if c == "" {
			continue // by its number alone
		}
		tmpl, err := Compile([]string{"<{" + c + "}>", "{" + c + "//}{" + c + "/}"}, o)
		if err != nil {
			t.Errorf("%q: %v", c, err)
			continue
		}
		want := []string{"<" + row[i] + ">", fmt.Sprintf("v%dw.x", i)}
		if got := tmpl.Expand(row, 1, "1"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", c, got, want)
		}
	}
	tmpl, err := Compile([]string{"{10}", "{-5}", "{a.}", "{1}"}, o)
	if got, want := tmpl.Expand(row, 1, "1"), []string{row[9], row[9], row[7], row[3]}; err != nil || !slices.Equal(got, want) {
		t.Errorf("by number, and by a name that looks like one: %q, %v", got, err)
	}
}

// TestBracesThatNameNoColumn: what can be meant to name a column of a table is refused,
// and what cannot stays.
func TestBracesThatNameNoColumn(t *testing.T) {
	columns := []string{"id", "name", "sample id", "größe", "x:y"}
	for _, c := range []struct{ word, nearest string }{ // "" stays as it is
		{"{nmae}", "name"}, {"{ID}", "id"}, {"{Name.}", "name"}, {"{sample di}", "sample id"}, {"{sample_id}", "sample id"}, {"{groesse}", "größe"},
		{"{grösse/}", "größe"}, {"{ id}", "id"}, {"{id }", "id"}, {"out/{nam}.txt", "name"}, {"{X:Y}", "x:y"}, {"f'{value}'", "sample id"}, {"x_{city}", "id"},
		{"{print $1}", ""}, {"{print}", ""}, {"{ print NR }", ""}, {"{next}", ""}, {"{s += $2} END {print s}", ""}, {"{n++}", ""}, // awk
		{"${HOME}", ""}, {"${i:-1}", ""}, {"{a,b}", ""}, {"{1..5}", ""}, {"{a..z}", ""}, {"{ ls; }", ""}, {"$${x}", ""}, {"{", ""}, {"}", ""}, // the shell
		{`{"id": 1}`, ""}, {`{"a":{"b":[]}}`, ""}, {"{'k': v}", ""}, {"{x:.2f}", ""}, {"{x!r}", ""}, {"{{}}}", ""}, {"{[0]}", ""}, // JSON, Python
		{`\begin{document}`, ""}, {`\frac{a}{b}`, ""}, {`\usepackage[utf8]{inputenc}`, ""}, {`\section*{intro}`, ""}, // LaTeX
		{"[0-9]{0}", ""}, {"{2,}", ""}, {"{1,3}", ""}, {"{0}", ""}, // regular expressions
	} {
		tmpl, err := Compile([]string{"p", c.word}, Options{Columns: columns, Width: len(columns)})
		if c.nearest != "" {
			if err == nil || !strings.Contains(err.Error(), "the columns are "+c.nearest) || !strings.Contains(err.Error(), "--literal") {
				t.Errorf("%s: error %v, want one that says %s first", c.word, err, c.nearest)
			}
			continue
		}
		want := strings.Replace(c.word, "{}", "1 2 3 4 5", 1)
		if err != nil {
			t.Errorf("%s: %v", c.word, err)
		} else if got := tmpl.Expand([]string{"1", "2", "3", "4", "5"}, 1, "1")[1]; got != want {
			t.Errorf("%s became %s", c.word, got)
		}
	}
}

func TestLiteral(t *testing.T) {
	o := Options{Columns: []string{"id", "name"}, Width: 2, Literal: []string{"nmae", "3", "id", ""}}
	tmpl, err := Compile([]string{"{nmae}", "a{3}", "{id}", "{}", "{name}"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tmpl.Expand([]string{"1", "x"}, 1, "1"), []string{"{nmae}", "a{3}", "{id}", "{}", "x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestValuesThatAreNotThere: rows may be shorter than others.
func TestValuesThatAreNotThere(t *testing.T) {
	argv := []string{"p", "{1}", "{2}", "x{2}", "{2}{3/}", "{-1}", "{-2}"}
	for _, c := range []struct {
		row  []string
		want []string
	}{
		{[]string{"a"}, []string{"p", "a", "x", "a"}},
		{[]string{"a", ""}, []string{"p", "a", "", "x", "", "", "a"}},
		{[]string{"a", "b", "c"}, []string{"p", "a", "b", "xb", "bc", "c", "b"}},
	} {
		tmpl, err := Compile(argv, Options{Width: math.MaxInt})
		if err != nil {
			t.Fatal(err)
		}
		if got := tmpl.Expand(c.row, 1, "1"); !slices.Equal(got, c.want) {
			t.Errorf("%q became %q, want %q", c.row, got, c.want)
		}
	}
}

// TestMany asserts what several values make of a word with {}.
func TestMany(t *testing.T) {
	row := []string{"x y", "b.c"}
	for _, c := range []struct {
		o    Options
		argv []string
		want []string
	}{
		{Options{Many: Repeat}, []string{"p", "a{}b", "{.}", "{1}"}, []string{"p", "ax yb", "ab.cb", "x y", "b", "x y"}},
		{Options{Many: Split}, []string{"p", "a{}b", "{1}"}, []string{"p", "ax y", "b.cb", "x y"}},
		{Options{Many: Join}, []string{"p", "a{}b"}, []string{"p", "ax y b.cb"}},
		{Options{Many: Repeat}, []string{"p"}, []string{"p", "x y", "b.c"}},
		{Options{Many: Repeat, Shell: "bash"}, []string{"p -a{}  >{1}; q"}, []string{"bash", "-c", "p -a'x y' -ab.c  >'x y'; q"}},
		{Options{Many: Split, Shell: "bash"}, []string{"p -a{}b"}, []string{"bash", "-c", "p -a'x y' b.cb"}},
		{Options{Many: Repeat, Shell: "bash"}, []string{"p"}, []string{"bash", "-c", "p 'x y' b.c"}},
	} {
		c.o.Width = 2
		tmpl, err := Compile(c.argv, c.o)
		if err != nil {
			t.Fatal(err)
		}
		got := tmpl.Expand(row, 1, "1")
		if !slices.Equal(got, c.want) {
			t.Errorf("%q with %+v became %q, want %q", c.argv, c.o, got, c.want)
		}
		n := 0
		for _, w := range got {
			n += len(w) + 1
		}
		if size := tmpl.Size(row); size < n || size > n+4 {
			t.Errorf("%q: the size is %d, not %d", got, size, n)
		}
	}
}

// TestInQuotes: placeholders in quotes in a text for a shell are found.
func TestInQuotes(t *testing.T) {
	for text, want := range map[string]bool{
		`echo {}`: false, `echo "{}"`: true, `echo '{1}'`: true, `echo "a" {} 'b'`: false, `echo \"{}\"`: false, `echo "\"{}"`: true, `echo "'" {}`: false,
		`awk '{print $1}' {}`: false, `echo "{#}"`: false, `echo 'a'"'"{}`: false, `p "x`: false, "": false, `'a b {}`: true,
	} {
		for _, many := range []Many{Join, Repeat} {
			tmpl, err := Compile([]string{text}, Options{Width: 1, Shell: "/bin/sh", Many: many})
			if err != nil || tmpl.InQuotes() != want {
				t.Errorf("%s: %v %v", text, tmpl.InQuotes(), err)
			}
		}
	}
	if tmpl, _ := Compile([]string{`"{}"`}, Options{Width: 1}); tmpl.InQuotes() {
		t.Error("without a shell quotes are text")
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
		// However many values there are, the size is no less than that of the command.
		for _, o := range []Options{{Many: Repeat}, {Many: Split}, {Many: Repeat, Shell: "bash"}, {Many: Split, Shell: "bash"}} {
			o.Width = math.MaxInt
			tmpl, err := Compile([]string{word}, o)
			if err != nil {
				return
			}
			one := tmpl.Size([]string{a}) + tmpl.Size([]string{b}) - tmpl.Size(nil)
			n := 0
			for _, w := range tmpl.Expand([]string{a, b}, 1, "1") {
				n += len(w) + 1
			}
			if n > one && !strings.ContainsAny(word, "123456789") {
				t.Fatalf("%q with %+v: %d bytes, and %d were reckoned with", word, o, n, one)
			}
		}
	})
}
