package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"muster/internal/near"
	"muster/internal/terminal"
)

// Diagnostic is one mistake and where it stands.
type Diagnostic struct {
	Range hcl.Range
	Msg   string
	Hint  string

	cause  error // what an expression failed of, if anything
	secret bool  // whether the line that it stands on may hold a secret
}

// Error is what is wrong with a config file: every mistake, with its place and
// the line it stands on.
type Error struct {
	List []Diagnostic
	src  map[string][]byte // file name → text
}

// maxMistakes is how many are told at once.
const maxMistakes = 20

// Error writes each mistake as FILE:LINE:COLUMN: message, and its source line
// below it, safe to print.
func (e *Error) Error() string {
	var parts []string
	for _, d := range e.List[:min(len(e.List), maxMistakes)] {
		text := fmt.Sprintf("%s:%d:%d: %s", d.Range.Filename, d.Range.Start.Line, d.Range.Start.Column, d.Msg)
		if line, ok := e.line(d.Range); ok && !d.secret {
			text += snippet([]rune(line), d.Range)
		}
		if d.Hint != "" {
			text += "\n       hint: " + d.Hint
		}
		parts = append(parts, text)
	}
	if more := len(e.List) - maxMistakes; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return terminal.Safe(strings.Join(parts, "\n"))
}

// maxLine is how much of a source line is shown, in characters.
const maxLine = 160

// snippet shows a source line and marks the range in it. Of a long line it shows
// what is around the range's begin.
func snippet(line []rune, r hcl.Range) string {
	end := r.End.Column - 1
	if r.End.Line != r.Start.Line {
		end = len(line)
	}
	from := min(max(r.Start.Column-1, 0), len(line))
	to := max(from, min(end, len(line)))
	if len(line) > maxLine {
		cut := max(0, min(from-maxLine/2, len(line)-maxLine))
		line, from, to = line[cut:cut+maxLine], from-cut, min(to-cut, maxLine)
	}
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(line[:from]))
	return fmt.Sprintf("\n  %4d | %s\n       | %s%s", r.Start.Line, string(line), blank, strings.Repeat("^", max(1, to-from)))
}

// Unwrap returns what expressions failed of, such as the context's end.
func (e *Error) Unwrap() []error {
	var causes []error
	for _, d := range e.List {
		if d.cause != nil {
			causes = append(causes, d.cause)
		}
	}
	return causes
}

func (e *Error) line(r hcl.Range) (string, bool) {
	lines := strings.Split(string(e.src[r.Filename]), "\n")
	if n := r.Start.Line; n >= 1 && n <= len(lines) && strings.TrimSpace(lines[n-1]) != "" {
		return strings.TrimRight(lines[n-1], "\r"), true
	}
	return "", false
}

// Mistake is a mistake in a setting, where it stands, or in the block if it is
// not there.
func (b *Block) Mistake(setting, msg, hint string) Diagnostic {
	d := Diagnostic{Range: b.Where(setting), Msg: msg, Hint: hint}
	if a := b.attrs[setting]; a != nil {
		d.secret = a.field.Secret
	}
	return d
}

// MistakeIn is a mistake in an element of a setting that is a list: path leads to it,
// from 0, through lists in lists. If the list is not written out it is one in the
// setting.
func (b *Block) MistakeIn(setting string, path []int, msg, hint string) Diagnostic {
	d := b.Mistake(setting, msg, hint)
	a := b.attrs[setting]
	if a == nil {
		return d
	}
	e := a.expr
	for _, i := range path {
		list, is := e.(*hclsyntax.TupleConsExpr)
		if !is || i >= len(list.Exprs) {
			return d
		}
		e = list.Exprs[i]
	}
	d.Range = e.Range()
	return d
}

// Errors is an *Error of a file's mistakes, in the order in which they stand; nil
// if there are none. It has no value of a setting that is secret.
func (f *File) Errors(list []Diagnostic) error {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	for i := range list {
		d := &list[i]
		d.Msg, d.Hint = f.hidden.in(d.Msg, d.Range.Start), f.hidden.in(d.Hint, d.Range.Start)
	}
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(a.Range.Start.Line-b.Range.Start.Line, a.Range.Start.Column-b.Range.Start.Column)
	})
	return &Error{list, map[string][]byte{f.Path: f.src}}
}

// Join is one error of many: the mistakes among them, each once and in the order in
// which they stand in the file, and behind these what else there is. It is nil if
// there is nothing.
func (f *File) Join(errs ...error) error {
	var list []Diagnostic
	var others []error
	var gather func([]error)
	gather = func(errs []error) {
		for _, err := range errs {
			switch e := err.(type) {
			case nil:
			case *Error:
				for _, d := range e.List {
					if !slices.ContainsFunc(list, func(o Diagnostic) bool { return o.Range == d.Range && o.Msg == d.Msg }) {
						list = append(list, d)
					}
				}
			case interface{ Unwrap() []error }:
				gather(e.Unwrap())
			default:
				others = append(others, err)
			}
		}
	}
	gather(errs)
	if len(others) == 0 {
		return f.Errors(list)
	}
	return errors.Join(append([]error{f.Errors(list)}, others...)...)
}

// At puts a mistake that others found in the value of a setting where the
// setting stands; line is one of a heredoc's, from 1, or 0.
func (f *File) At(r hcl.Range, line int, msg, hint string) error {
	if line > 0 && r.End.Line > r.Start.Line {
		at := r.Start.Line + line // the heredoc's text begins below <<EOT
		r = hcl.Range{Filename: r.Filename, Start: hcl.Pos{Line: at, Column: 1}, End: hcl.Pos{Line: at, Column: 1 << 20}}
	}
	return f.Errors([]Diagnostic{{Range: r, Msg: msg, Hint: hint}})
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
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
			out.cause = call.FunctionCallError()
			out.Msg = call.CalledFunctionName() + "(): " + out.cause.Error()
		}
		if d.Summary == "Invalid expression" || strings.Contains(d.Summary, "template") && d.Summary != "Unterminated template string" {
			out.Hint = shellHint
		}
		list = append(list, out)
	}
	return list
}

// nearest returns a hint that names what was probably meant.
func nearest(word string, names []string) string {
	name := near.Name(word, names)
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}
