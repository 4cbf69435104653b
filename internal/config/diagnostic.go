package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/xrash/smetrics"
)

// Diagnostic is one mistake and where it stands.
type Diagnostic struct {
	Range hcl.Range
	Msg   string
	Hint  string
}

// Error is what is wrong with a config file: every mistake, with its place and
// the line it stands on.
type Error struct {
	List []Diagnostic
	src  map[string][]byte // file name → text
}

// Error writes each mistake as FILE:LINE:COLUMN: message, and its source line
// below it.
func (e *Error) Error() string {
	var b strings.Builder
	for i, d := range e.List {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", d.Range.Filename, d.Range.Start.Line, d.Range.Start.Column, d.Msg)
		if line, ok := e.line(d.Range); ok {
			width := max(1, min(d.Range.End.Column, len(line)+1)-d.Range.Start.Column)
			if d.Range.End.Line != d.Range.Start.Line {
				width = max(1, len(line)+1-d.Range.Start.Column)
			}
			blank := strings.Map(func(r rune) rune {
				if r == '\t' {
					return r
				}
				return ' '
			}, line[:min(max(d.Range.Start.Column-1, 0), len(line))])
			fmt.Fprintf(&b, "\n  %4d | %s\n       | %s%s", d.Range.Start.Line, line, blank, strings.Repeat("^", width))
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "\n       hint: %s", d.Hint)
		}
	}
	return b.String()
}

func (e *Error) line(r hcl.Range) (string, bool) {
	lines := strings.Split(string(e.src[r.Filename]), "\n")
	if n := r.Start.Line; n >= 1 && n <= len(lines) && strings.TrimSpace(lines[n-1]) != "" {
		return strings.TrimRight(lines[n-1], "\r"), true
	}
	return "", false
}

// fail makes an Error of one mistake.
func (f *File) fail(r hcl.Range, hint, format string, args ...any) error {
	return f.errors([]Diagnostic{{r, fmt.Sprintf(format, args...), hint}})
}

func (f *File) errors(list []Diagnostic) error {
	if len(list) == 0 {
		return nil
	}
	return &Error{list, map[string][]byte{f.Path: f.src}}
}

// At puts a mistake that others found in the value of a setting where the
// setting stands; line is one of a heredoc's, from 1, or 0.
func (f *File) At(r hcl.Range, line int, msg, hint string) error {
	if line > 0 && r.End.Line > r.Start.Line {
		at := r.Start.Line + line // the heredoc's text begins below <<EOT
		r = hcl.Range{Filename: r.Filename, Start: hcl.Pos{Line: at, Column: 1}, End: hcl.Pos{Line: at, Column: 1 << 20}}
	}
	return f.fail(r, hint, "%s", msg)
}

// translate makes diagnostics of hcl's own.
func translate(diags hcl.Diagnostics) []Diagnostic {
	var list []Diagnostic
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		out := Diagnostic{Msg: d.Summary}
		if d.Detail != "" && d.Detail != d.Summary {
			out.Msg += ": " + strings.ReplaceAll(d.Detail, "\n", " ")
		}
		if d.Subject != nil {
			out.Range = *d.Subject
		}
		if d.Summary == "Unknown variable" || d.Summary == "Invalid expression" || strings.Contains(d.Summary, "template") {
			out.Hint = "in shell text write $${NAME} and %%{...} for ${NAME} and %{...}, or keep it in a file named by options_file"
		}
		list = append(list, out)
	}
	return list
}

// near returns a hint that names what was probably meant.
func near(word string, names []string) string {
	best, hint := 0.8, ""
	for _, n := range names {
		if like := smetrics.JaroWinkler(n, word, 0.7, 4); like > best {
			best, hint = like, fmt.Sprintf("did you mean %q?", n)
		}
	}
	return hint
}
