package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/internal/input"
)

// TestHeader: a table that is read as lines is told where a placeholder can only be meant
// for one of its columns.
func TestHeader(t *testing.T) {
	for _, c := range []struct {
		name, file string
		o          runOptions
		argv       []string
		want       string // "" if nothing is said
	}{
		{"CSV", "sample,reads\na,1\n", runOptions{}, []string{"fit", "{sample}"}, "--csv reads it as one; --literal 'sample' leaves {sample} as it is"},
		{"quoted", "\ufeff\"sample id\",reads\r\n", runOptions{}, []string{"fit", "x{sample id}"}, "--csv reads it"},
		{"one column", "sample", runOptions{}, []string{"fit", "{sample}"}, "--csv reads it"},
		{"TSV", "sample\treads\n", runOptions{}, []string{"fit {reads}"}, "--tsv reads it"},
		{"JSON", `{"id":1,"file":"x"}` + "\n", runOptions{}, []string{"fit", "{file/.}"}, "--jsonl reads it as one; --literal 'file/.' leaves"},
		{"another name", "sample,reads\n", runOptions{}, []string{"fit", "{city}", "{}"}, ""},
		{"a variable of the shell", "sample,reads\n", runOptions{}, []string{"echo ${sample}"}, ""},
		{"a number", "1,2\n", runOptions{}, []string{"echo", "{1}"}, ""},
		{"an empty name", ",\n", runOptions{}, []string{"echo", "{}", "{.}"}, ""},
		{"literal", "sample,reads\n", runOptions{sourceOptions: sourceOptions{literal: []string{"sample"}}}, []string{"fit", "{sample}"}, ""},
		{"read as a table", "sample,reads\n", runOptions{csv: true}, []string{"fit", "{sample}"}, ""},
		{"empty", "", runOptions{}, []string{"fit", "{sample}"}, ""},
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.o.checkHeader([]input.Source{{File: "-"}, {Args: []string{"a"}}, {File: file}}, c.argv)
		var h hinted
		if told := errors.As(err, &h); told != (c.want != "") || !strings.HasPrefix(h.hint, c.want) {
			t.Errorf("%s: %v; %s", c.name, err, h.hint)
		}
	}
}
