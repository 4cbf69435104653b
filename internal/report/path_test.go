package report_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/internal/report"
	"muster/task"
)

func TestResultsLieWhereParallelPutsThem(t *testing.T) {
	for _, tc := range []struct {
		name    string
		columns []string
		rows    [][]string
	}{
		{"one column", nil, [][]string{{"a"}, {"a b"}, {"é$*'\""}, {"a/b"}, {"/"}, {"../x"}, {`a\b`}, {`\_`}, {"t\tx"}, {"n\nl"}, {"..."}, {"\xff"}}},
		{"two columns", nil, [][]string{{"a", "b"}, {"a", "c/d"}, {"x", "b"}}},
		{"twelve columns", nil, [][]string{strings.Split("abcdefghijkl", "")}},
		{"names", []string{"b", "info", "a", "10x", "9", "-1e1", "B"}, [][]string{{"1", "2", "3", "4", "5", "6", "7"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"-0", "--results", "out"}
			if tc.columns != nil {
				args = append(args, "--header", ":")
			}
			args = append(args, "echo o{#}; echo e{#} >&2; : {}")
			for c := range tc.rows[0] {
				args = append(args, ":::+"[:3+min(c, 1)])
				if tc.columns != nil {
					args = append(args, tc.columns[c])
				}
				for _, row := range tc.rows {
					args = append(args, row[c])
				}
			}
			want := tree(t, filepath.Join(parallel(t, "", args...), "out"))

			ours := filepath.Join(t.TempDir(), "deep", "out")
			m := newMaker(t)
			w := open(t, report.Options{ResultsDir: ours})
			for i, row := range tc.rows {
				it := m.item(i+1, fmt.Sprintf("o%d\n", i+1), fmt.Sprintf("e%d\n", i+1))
				it.Row = task.Row{Values: row, Columns: tc.columns}
				put(t, w, it)
			}
			closeIt(t, w)
			got := tree(t, ours)
			maps.DeleteFunc(got, func(path, _ string) bool { return filepath.Base(path) == "result.json" })
			if len(want) != 3*len(tc.rows) || !maps.Equal(got, want) {
				t.Errorf("got\n%q\nparallel has\n%q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}

func FuzzResultsPath(f *testing.F) {
	for _, s := range []string{"", ".", "..", "../..", "a/b", `\`, `\\`, `\_`, `\e`, `\.`, "\x00", "\t", "\n", "\xff",
		strings.Repeat("x", 255), strings.Repeat(`\`, 140), strings.Repeat("é/", 100)} {
		f.Add(s, "a", s, "b", "c")
		f.Add("..", s, s+"/", "..", s)
	}
	base := f.TempDir()
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2, name string) {
		parent, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(parent)
		dir := filepath.Join(parent, "x", "out")
		w, err := report.New(report.Options{ResultsDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		rows := [][]string{{a1, a2}, {b1, b2}}
		for i, row := range rows {
			it := report.Item{Result: task.Result{Index: i + 1}, Row: task.Row{Values: row, Columns: []string{name, "two"}}}
			if err := w.Write(it); err != nil {
				t.Fatalf("%q: %v", row, err)
			}
		}
		all, within := tree(t, parent), tree(t, dir)
		if len(all) != len(within) {
			t.Fatalf("%q left the directory: %q", rows, slices.Sorted(maps.Keys(all)))
		}
		want := 8
		if slices.Equal(rows[0], rows[1]) {
			want = 4
		}
		if len(within) != want {
			t.Fatalf("%q: %d files, want %d: %q", rows, len(within), want, slices.Sorted(maps.Keys(within)))
		}
	})
}
