package input

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// all reads a reader to its end.
func all(r *Reader) (rows [][]string, err error) {
	for {
		row, err := r.Next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
}

// file writes a file in a folder that the test runs in.
func file(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

type rows = [][]string

func TestFormats(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for _, c := range []struct {
		name    string
		o       Options
		text    string
		columns []string
		want    rows
	}{
		{"lines", Options{}, "a\nb c\n", nil, rows{{"a"}, {"b c"}}},
		{"empty lines and no last newline", Options{}, "\n a \n\nz", nil, rows{{""}, {" a "}, {""}, {"z"}}},
		{"carriage returns stay", Options{}, "a\r\n", nil, rows{{"a\r"}}},
		{"nothing", Options{}, "", nil, nil},
		{"lines with a byte order mark", Options{}, "\ufeffa\n\ufeffb\n", nil, rows{{"a"}, {"\ufeffb"}}},
		{"an empty line with a byte order mark", Options{}, "\ufeff\nb\n", nil, rows{{""}, {"b"}}},
		{"only a byte order mark", Options{}, "\ufeff", nil, nil},
		{"NUL bytes", Options{Null: true}, "\ufeffa\n\x00\x00b", nil, rows{{"\ufeffa\n"}, {""}, {"b"}}},
		{"columns", Options{ColSep: regexp.MustCompile(",|;")}, "a, b;c\r\n\n,", nil, rows{{"a", "b", "c"}, {""}, {"", ""}}},
		{"columns that keep blanks", Options{ColSep: regexp.MustCompile(","), Trim: TrimNone}, "a, b\r\n", nil, rows{{"a", " b\r"}}},
		{"columns with names", Options{ColSep: regexp.MustCompile(","), Header: true}, "\ufeffx,y z\n1\n1,2,3\n", []string{"x", "y z"}, rows{{"1"}, {"1", "2", "3"}}},
		{"lines with a name", Options{Header: true}, "x;y\n1 \n", []string{"x;y"}, rows{{"1 "}}},
		{"trimmed on the right", Options{Trim: TrimRight}, " a\t \r\n", nil, rows{{" a"}}},
		{"longer than a buffer", Options{}, long + "\n" + long, nil, rows{{long}, {long}}},
		{"csv", Options{CSV: true}, "a,b\n1,\"x, \"\"y\"\"\nz\"\n,\n", []string{"a", "b"}, rows{{"1", "x, \"y\"\nz"}, {"", ""}}},
		{"csv with a byte order mark", Options{CSV: true}, "\ufeffa,b\n1,2", []string{"a", "b"}, rows{{"1", "2"}}},
		{"csv without a header", Options{CSV: true, NoHeader: true}, "1,2\r\n3,4\r\n", nil, rows{{"1", "2"}, {"3", "4"}}},
		{"csv, only a header", Options{CSV: true}, "a,b\n", []string{"a", "b"}, nil},
		{"tsv quotes nothing", Options{TSV: true}, "\ufeffa\tb\r\n\"1\t2 \"\r\n\t", []string{"a", "b"}, rows{{"\"1", "2 \""}, {"", ""}}},
		{"tsv without a header", Options{TSV: true, NoHeader: true}, "1\t2", nil, rows{{"1", "2"}}},
		{"objects, in the order of the first", Options{JSONL: true}, `{"b":1e3,"a":"x\ny"}` + "\n\n" + `{"a":null,"b":12345678901234567890}`, []string{"b", "a"}, rows{{"1e3", "x\ny"}, {"12345678901234567890", ""}}},
		{"nested values are compact", Options{JSONL: true}, `{"a": {"k" : [1, "t"]}, "b": true}`, []string{"a", "b"}, rows{{`{"k":[1,"t"]}`, "true"}}},
		{"arrays", Options{JSONL: true}, "[1, \"b\"]\n[null,false]", nil, rows{{"1", "b"}, {"", "false"}}},
		{"scalars", Options{JSONL: true}, "\"a\"\n1.50\n", nil, rows{{"a"}, {"1.50"}}},
		{"no json", Options{JSONL: true}, "\n \n", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			file(t, "in", c.text)
			// From a file and from a pipe, which is read in another way.
			for _, source := range []string{"in", "-"} {
				o := c.o
				o.Sources, o.Stdin = []Source{{File: source}}, strings.NewReader(c.text)
				r, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := all(r)
				if err != nil || !reflect.DeepEqual(got, c.want) || !reflect.DeepEqual(r.Columns(), c.columns) {
					t.Errorf("from %s: %q of columns %q, %v; want %q of %q", source, got, r.Columns(), err, c.want, c.columns)
				}
				for _, row := range got {
					if len(row) > r.Width() || len(row) < r.Width() && o.ColSep == nil {
						t.Errorf("a row of %d values, the width is %d", len(row), r.Width())
					}
				}
				if n, known := r.Total(); known != (source == "in" || o.formatted()) || known && n != len(c.want) {
					t.Errorf("from %s: total %d %v, want %d", source, n, known, len(c.want))
				}
				r.Close()
			}
		})
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct {
		o          Options
		text, want string
	}{
		{Options{}, "ok\nb\x00d\n", "in:2: a NUL byte, at column 2, "},
		{Options{}, strings.Repeat("x", MaxRow+1), "in:1: the line is longer than 16 MiB"},
		{Options{CSV: true}, "a,b\n1,2\n3\n", "in:3: 1 value here, but 2 in the first row"},
		{Options{CSV: true}, "a,b\n1,\"2\n", "in:2:6: "},
		{Options{CSV: true}, "a,b\n1,x\"y\n", "in:2:4: "},
		{Options{CSV: true}, "a,b\n1,\"\x00\"\n", "in:2:3: a NUL byte"},
		{Options{CSV: true}, "", "in:1: it is empty"},
		{Options{CSV: true}, "id;n\n1;2\n", `in:1: it has one column, named "id;n"; if ";" stands between columns, --colsep ';' --header : reads it`},
		{Options{CSV: true}, "id\tn\n1\t2\n", `in:1: it has one column, named "id\tn"; if "\t" stands between columns, --tsv reads it`},
		{Options{TSV: true}, "id,n\n1,2\n", `in:1: it has one column, named "id,n"; if "," stands between columns, --csv reads it`},
		{Options{TSV: true}, "id|n\n1|2\n", `in:1: it has one column, named "id|n"; if "|" stands between columns, --colsep '\|' --header : reads it`},
		{Options{Header: true}, "", "in: it is empty: with --header : the first input names"},
		{Options{Header: true, ColSep: regexp.MustCompile(",")}, "a,b,a\n", `in: columns 1 and 3 are both named "a"`},
		{Options{Null: true}, strings.Repeat("x", MaxRow+1), "in:1: the line is longer than 16 MiB"},
		{Options{CSV: true}, "a,b,a\n", `in: columns 1 and 3 are both named "a"`},
		{Options{TSV: true}, "a\tb\n1\n", "in:2: 1 value here, but 2 in the first row"},
		{Options{TSV: true}, "a\tb\n1\t\x00\n", "in:2: a NUL byte"},
		{Options{JSONL: true}, "{\"a\":1}\n\n{\"b\":1}", `in:3: there is no "a" here, but in the first line`},
		{Options{JSONL: true}, "{\"a\":1}\n{\"b\":1,\"a\":2}", `in:2: there is "b" here, but not in the first line`},
		{Options{JSONL: true}, `{"a":1,"a":2}`, `in:1: not JSON: "a" is there twice`},
		{Options{JSONL: true}, "[1,2]\n[1]", "in:2: an array of 1 value here, but the first line has 2 values"},
		{Options{JSONL: true}, "{\"a\":1}\n1", "in:2: a single value here, but the first line has an object"},
		{Options{JSONL: true}, `{"a":`, "in:1: the JSON value does not end on its line"},
		{Options{JSONL: true}, `1 2`, "in:1: there is more than one JSON value on the line"},
		{Options{JSONL: true}, `nope`, "in:1: not JSON: "},
		{Options{JSONL: true}, `{"a":"\u0000"}`, `in:1: not JSON: a NUL character`},
	} {
		t.Chdir(t.TempDir())
		c.o.Sources = []Source{{File: file(t, "in", c.text)}}
		_, err := Open(c.o)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.40q: error %v, want %s", c.text, err, c.want)
		}
	}
}

func TestSourcesThatCannotBe(t *testing.T) {
	t.Chdir(t.TempDir())
	os.Mkdir("dir", 0o700)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no inputs"},
		{Options{Sources: []Source{{File: "nowhere"}}}, "open nowhere: no such file"},
		{Options{Sources: []Source{{File: "dir"}}}, "it is a directory"},
		{Options{Sources: []Source{{File: "-"}, {File: "-"}}}, "only one -a can be -"},
		{Options{CSV: true, Sources: []Source{{Args: []string{"a"}}}}, "taken as they are"},
		{Options{Null: true, Sources: []Source{{Args: []string{"a"}}}}, "taken as they are"},
		{Options{CSV: true, Null: true, Sources: []Source{{File: "-"}}}, "are for lines"},
		{Options{TSV: true, ColSep: regexp.MustCompile(","), Sources: []Source{{File: "-"}}}, "are for lines"},
		{Options{Header: true, JSONL: true, Sources: []Source{{File: "-"}}}, "say that it does not"},
		{Options{Sources: []Source{{Args: []string{"a"}, Linked: true}}}, "needs a source before it"},
		{Options{Sources: []Source{{Args: []string{"a", "b"}}, {Args: []string{"1"}, Linked: true}}}, "one has 2 values and the next 1 value"},
	} {
		if _, err := Open(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %s", c.o.Sources, err, c.want)
		}
	}
}

func words3() []Source {
	return []Source{{Args: []string{"a", "b"}}, {Args: []string{"1", "2", "3"}}, {Args: []string{"x"}}}
}

func TestCombinations(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"all, the last fastest", Options{Sources: words3()}, "a1x a2x a3x b1x b2x b3x"},
		{"linked, short ones again", Options{Sources: words3(), Link: true}, "a1x b2x a3x"},
		{"one pair linked", Options{Sources: []Source{{Args: []string{"a", "b"}}, {Args: []string{"1", "2"}, Linked: true}, {Args: []string{"x", "y"}}}}, "a1x a1y b2x b2y"},
		{"an empty source", Options{Sources: []Source{{Args: []string{"a"}}, {Args: []string{}}}}, ""},
		{"an empty source, linked", Options{Link: true, Sources: []Source{{Args: []string{"a"}}, {Args: []string{}}}}, ""},
	} {
		r, err := Open(c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := all(r)
		var text []string
		for _, row := range got {
			text = append(text, strings.Join(row, ""))
		}
		if n, known := r.Total(); err != nil || strings.Join(text, " ") != c.want || !known || n != len(got) {
			t.Errorf("%s: %q (total %d), %v; want %s", c.name, text, n, err, c.want)
		}
	}
}

func TestColumnsOfSeveralTables(t *testing.T) {
	t.Chdir(t.TempDir())
	o := Options{CSV: true, Sources: []Source{{File: file(t, "x", "a,b\n1,2\n")}, {Args: []string{"w"}}, {File: file(t, "y", "c\n3\n4\n")}}}
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := all(r)
	if want := (rows{{"1", "2", "w", "3"}, {"1", "2", "w", "4"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if want := []string{"a", "b", "", "c"}; !reflect.DeepEqual(r.Columns(), want) {
		t.Errorf("columns %q", r.Columns())
	}
	o.Sources[2].File = file(t, "y", "b\n3\n")
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), `both named "b"`) {
		t.Errorf("two columns of one name: %v", err)
	}
}

// TestColumnsKeepTheirPlace: where columns have names, short rows do not move the values
// of the next source.
func TestColumnsKeepTheirPlace(t *testing.T) {
	o := Options{ColSep: regexp.MustCompile(","), Header: true, Sources: []Source{{Args: []string{"a,b", "1", "2,3"}}, {Args: []string{"c", "x"}}}}
	for _, link := range []bool{false, true} {
		o.Link = link
		r, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := all(r)
		if want := (rows{{"1", "", "x"}, {"2", "3", "x"}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestCSVWithACommaInItsOnlyName(t *testing.T) {
	r, err := Open(Options{CSV: true, Sources: []Source{{File: "-"}}, Stdin: strings.NewReader("\"a,b\"\n1\n")})
	if err != nil || !reflect.DeepEqual(r.Columns(), []string{"a,b"}) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestSeparatorsThatCannotBe(t *testing.T) {
	for _, s := range []string{"(", "x*", "^", "a|"} {
		if _, err := CompileSeparator(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// TestLinesThatEndAsOnWindows are told of once, if all that are looked at end so.
func TestLinesThatEndAsOnWindows(t *testing.T) {
	t.Chdir(t.TempDir())
	for text, want := range map[string]int{
		"a\r\nb\r\n": 1, "a\r\n": 1, "a\r": 1, strings.Repeat("a\r\n", 50): 1, strings.Repeat("a\r\n", 20) + "b\n": 1,
		"a\nb\r\n": 0, "a\r\nb": 0, "": 0, "a\n": 0, "a\rb\n": 0,
	} {
		file(t, "in", text)
		for _, o := range []Options{{Sources: []Source{{File: "in"}}}, {Sources: []Source{{File: "-"}}}, {Sources: []Source{{File: "in"}, {File: "-"}}},
			{Sources: []Source{{File: "in"}}, Trim: TrimLeft}} {
			told := 0
			o.Stdin, o.Warn = strings.NewReader(text), func(string) { told++ }
			r, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = all(r); err != nil || told != want {
				t.Errorf("%q of %+v: told %d times, %v; want %d", text, o.Sources, told, err, want)
			}
		}
	}
}

func TestReturnsThatAreTrimmedAreNotToldOf(t *testing.T) {
	for _, o := range []Options{{ColSep: regexp.MustCompile(",")}, {Trim: TrimRight}, {Null: true}} {
		o.Sources, o.Stdin = []Source{{File: "-"}}, strings.NewReader("a\r\nb\r\n")
		o.Warn = func(text string) { t.Errorf("%+v: told %s", o, text) }
		r, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all(r); err != nil {
			t.Error(err)
		}
	}
}

// TestGroups asserts how rows are put together, and that none is lost.
func TestGroups(t *testing.T) {
	size := func(row []string) int { return len(row[0]) }
	for _, c := range []struct {
		text  string
		shape func(r *Reader)
		want  string
	}{
		{"a b c d e", func(r *Reader) { r.Group(2) }, "a b|c d|e"},
		{"a b", func(r *Reader) { r.Group(2) }, "a b"},
		{"", func(r *Reader) { r.Group(2) }, ""},
		{"a b c", func(r *Reader) { r.Group(1) }, "a|b|c"},
		{"aa bb cc dd e", func(r *Reader) { r.Pack(Packing{Room: 4, Size: size, Shares: 1}) }, "aa bb|cc dd|e"},
		{"aaaaa b ccccc", func(r *Reader) { r.Pack(Packing{Room: 4, Size: size, Shares: 1}) }, "aaaaa|b|ccccc"},
		{"a b c d e", func(r *Reader) { r.Pack(Packing{Room: 99, Size: size, Shares: 2}) }, "a b c|d e"},
		{"a b c d e", func(r *Reader) { r.Pack(Packing{Room: 99, Most: 4, Size: size, Shares: 2}) }, "a b c d|e"},
		{"a b c d", func(r *Reader) { r.Pack(Packing{Room: 99, Most: 4, Size: size, Shares: 2}) }, "a b|c d"},
		{"a b", func(r *Reader) { r.Pack(Packing{Room: 99, Size: size, Shares: 9}) }, "a|b"},
		{"", func(r *Reader) { r.Pack(Packing{Room: 99, Size: size, Shares: 2}) }, ""},
	} {
		r, err := Open(Options{Sources: []Source{{Args: strings.Fields(c.text)}}})
		if err != nil {
			t.Fatal(err)
		}
		c.shape(r)
		n, known := r.Total()
		got, err := all(r)
		var groups []string
		for _, g := range got {
			groups = append(groups, strings.Join(g, " "))
		}
		if err != nil || strings.Join(groups, "|") != c.want || known && n != len(got) {
			t.Errorf("%q became %q (total %d), %v; want %q", c.text, groups, n, err, c.want)
		}
		if again, err := r.Next(); err != io.EOF {
			t.Errorf("after the end: %q, %v", again, err)
		}
	}
}

func TestShuffle(t *testing.T) {
	order := func(seed uint64) string {
		r, err := Open(Options{Sources: []Source{{Args: strings.Split("abcdefghij", "")}, {Args: []string{"1", "2"}}}, Shuffle: true, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := all(r)
		if n, known := r.Total(); n != 20 || !known {
			t.Errorf("total %d %v", n, known)
		}
		var list []string
		for _, row := range got {
			list = append(list, strings.Join(row, ""))
		}
		text := strings.Join(list, " ")
		if slices.Sort(list); strings.Join(list, "") != "a1a2b1b2c1c2d1d2e1e2f1f2g1g2h1h2i1i2j1j2" {
			t.Errorf("shuffled: %s", text)
		}
		return text
	}
	if one, other := order(1), order(2); one != order(1) || one == other {
		t.Errorf("a seed stands for one order: %q and %q", one, other)
	}
}

func TestAPipeOfLinesIsNotWaitedFor(t *testing.T) {
	in, out := io.Pipe()
	r, err := Open(Options{Sources: []Source{{File: "-"}}, Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	// Each row is read before the next is written: the pipe has no buffer.
	for i := range 3 {
		go fmt.Fprintf(out, "row %d\n", i)
		if row, err := r.Next(); err != nil || row[0] != fmt.Sprintf("row %d", i) {
			t.Fatalf("%q, %v", row, err)
		}
	}
	go func() { io.WriteString(out, "b\x00d\n"); out.Close() }()
	if _, err := r.Next(); err == nil || !strings.HasPrefix(err.Error(), "standard input:4: a NUL byte") {
		t.Errorf("a NUL in the fourth row: %v", err)
	}
}

func TestStandardInputIsReadFromWhereItStands(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := os.Open(file(t, "in", "skipped\na\nb\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Seek(int64(len("skipped\n")), io.SeekStart)
	r, err := Open(Options{Sources: []Source{{File: "-"}}, Stdin: f})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := all(r); err != nil || !reflect.DeepEqual(got, rows{{"a"}, {"b"}}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAsGNUParallel has GNU parallel combine the same sources.
func TestAsGNUParallel(t *testing.T) {
	path, err := exec.LookPath("parallel")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("GNU parallel is missing")
		}
		t.Skip("GNU parallel is missing: apt-get install parallel")
	}
	for _, link := range []bool{false, true} {
		args := []string{"-k", "-j1"}
		if link {
			args = append(args, "--link")
		}
		args = append(args, "echo")
		for _, s := range words3() {
			args = append(append(args, ":::"), s.Args...)
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "PARALLEL_HOME="+t.TempDir())
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(Options{Sources: words3(), Link: link})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := all(r)
		var text strings.Builder
		for _, row := range got {
			text.WriteString(strings.Join(row, " ") + "\n")
		}
		if text.String() != string(want) {
			t.Errorf("--link %v: %q, with GNU parallel %q", link, text.String(), want)
		}
	}
}

func FuzzFormats(f *testing.F) {
	f.Add("a,b\n1,\"2\n3\"\n", byte(1))
	f.Add("a\tb\n1\t2", byte(2))
	f.Add("{\"a\":1}\n[2]\n", byte(3))
	f.Add("x\n\ny", byte(0))
	f.Add("x,y\n\n1\n", byte(8))
	f.Add("x,y\n1, 2,3", byte(24))
	f.Fuzz(func(t *testing.T, text string, format byte) {
		o := Options{CSV: format%4 == 1, TSV: format%4 == 2, JSONL: format%4 == 3, NoHeader: format&4 != 0,
			Sources: []Source{{File: "-"}}, Stdin: strings.NewReader(text)}
		ragged := format%4 == 0 && format&8 != 0
		if ragged {
			o.NoHeader, o.ColSep, o.Header = false, regexp.MustCompile(","), format&16 != 0
		}
		r, err := Open(o)
		if err != nil {
			return
		}
		defer r.Close()
		got, err := all(r)
		for _, row := range got {
			if len(row) != r.Width() && !ragged || len(row) > r.Width() || strings.Contains(strings.Join(row, ""), "\x00") {
				t.Fatalf("row %q of width %d", row, r.Width())
			}
		}
		if err == nil && format%4 == 0 && !ragged {
			var flat []string
			for _, row := range got {
				flat = append(flat, row[0])
			}
			if strings.Join(flat, "\n") != strings.TrimSuffix(strings.TrimPrefix(text, bom), "\n") {
				t.Fatalf("%q came back as %q", text, flat)
			}
		}
	})
}

func BenchmarkMillionLines(b *testing.B) {
	var text strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintln(&text, i)
	}
	path := filepath.Join(b.TempDir(), "in")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Open(Options{Sources: []Source{{File: path}}})
		if err != nil {
			b.Fatal(err)
		}
		if got, err := all(r); err != nil || len(got) != 1_000_000 {
			b.Fatal(len(got), err)
		}
		r.Close()
	}
}
