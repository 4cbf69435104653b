package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"muster/internal/input"
)

// longestHeader is how much of a file's first line is looked at for names of columns.
const longestHeader = 64 << 10

// checkHeader finds a table that is read as lines, since no option says that it is one:
// the command has a placeholder for a name in the first line of a file. A pipe is not
// looked at.
func (o *runOptions) checkHeader(sources []input.Source, argv []string) error {
	if o.csv || o.tsv || o.jsonl || o.colSep != "" || o.header != "" || o.null {
		return nil
	}
	for _, s := range sources {
		option, names := columnsOf(firstLine(s.File))
		for _, name := range names {
			if p := placeholderOf(name, argv, o.literal); p != "" {
				return usageError{hinted{fmt.Errorf("%s is read as lines, in which %s stands for itself; it looks like a table with the column %q", s.File, p, name),
					option + " reads it as one; --literal '" + strings.Trim(p, "{}") + "' leaves " + p + " as it is"}}
			}
		}
	}
	return nil
}

// firstLine is the first line of a regular file, "" of anything else.
func firstLine(path string) string {
	if path == "-" {
		return ""
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, longestHeader)).ReadString('\n')
	return strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n")
}

// columnsOf are the columns that a line names, as the first of a table, and the option
// for such a table.
func columnsOf(line string) (option string, names []string) {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &object) == nil {
		for name := range object {
			names = append(names, name)
		}
		return "--jsonl", names
	}
	if strings.Contains(line, "\t") {
		return "--tsv", strings.Split(line, "\t")
	}
	for name := range strings.SplitSeq(line, ",") {
		names = append(names, strings.Trim(name, `"`))
	}
	return "--csv", names
}

// placeholderOf is the placeholder that a word has for a column, with a form such as {/}
// behind the name or without one; "" if no word has any. What looks like a number means a
// source.
func placeholderOf(name string, argv, literal []string) string {
	if strings.Trim(name, " 0123456789") == "" {
		return ""
	}
	for _, form := range []string{"", ".", "/", "//", "/."} {
		for _, word := range argv {
			p := "{" + name + form + "}"
			before, _, found := strings.Cut(word, p)
			if found && !strings.HasSuffix(before, "$") && !slices.Contains(literal, name+form) {
				return p
			}
		}
	}
	return ""
}
