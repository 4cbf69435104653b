package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"muster/task"
)

// componentMax is the longest name that common file systems take, in bytes.
const componentMax = 255

// ResultPath is where a row's results lie beneath the results directory: for each
// value its column and the value itself, as GNU parallel 20221122 has it
// (args_as_dirname), in the order it sorts columns in. Beyond that, nothing in
// a row can lead out of the directory, and no two rows of short values with
// the same columns share a path, where file names are told apart by case.
func ResultPath(row task.Row) string {
	order := make([]int, len(row.Values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := column(row.Columns, a), column(row.Columns, b)
		return cmp.Or(cmp.Compare(number(x), number(y)), cmp.Compare(x, y))
	})
	parts := []string{"."}
	for _, i := range order {
		parts = append(parts, component(column(row.Columns, i)), component(row.Values[i]))
	}
	return filepath.Join(parts...)
}

// column is the name of the i-th value, from 0, as GNU parallel has it: its number, from
// 1, where it has none.
func column(columns []string, i int) string {
	if i < len(columns) {
		return columns[i]
	}
	return strconv.Itoa(i + 1)
}

// component makes a value the name of a directory. Since a backslash is always
// doubled, what follows a single one cannot be part of a value: \t, \0 and \_
// are GNU parallel's own; \e, \. and \# are used where it would have no
// directory, another directory, or none that a file system takes.
func component(value string) string {
	switch value {
	case "":
		return `\e`
	case ".", "..":
		return `\` + value
	}
	name := strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\x00", `\0`, "/", `\_`).Replace(value)
	if len(name) <= componentMax {
		return name
	}
	sum := sha256.Sum256([]byte(value))
	mark := `\#` + hex.EncodeToString(sum[:16])
	return cut(name, componentMax-len(mark)) + mark
}

// cut shortens an escaped name to at most n bytes, through no escape and no
// rune.
func cut(name string, n int) string {
	for n > 0 && utf8.ValidString(name) && !utf8.RuneStart(name[n]) {
		n--
	}
	head := name[:n]
	backslashes := len(head) - len(strings.TrimRight(head, `\`))
	return head[:len(head)-backslashes%2]
}

// number is the value that Perl sees in a column's name, by which GNU parallel
// sorts them: that of the number or the "inf" at its start, or 0.
func number(name string) float64 {
	name = strings.TrimLeft(name, " \t\n\r\f\v")
	if len(name) >= 3 && strings.EqualFold(name[:3], "inf") {
		return math.Inf(1)
	}
	end := 0
	for end < len(name) && strings.IndexByte("+-.0123456789eE", name[end]) >= 0 {
		end++
	}
	for ; end > 0; end-- {
		if n, err := strconv.ParseFloat(name[:end], 64); err == nil {
			return n
		}
	}
	return 0
}
