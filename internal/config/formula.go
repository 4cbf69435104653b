package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Formula is an expression over what is known later: what a service has answered, or
// what a command has printed. It travels as text to whoever evaluates it then. What it
// takes from the environment, files and programs, and of the worker, is evaluated by
// the command that was typed and stands in the text as values, which may be secrets.
type Formula struct {
	Text   string `json:"text"` // as it would stand in a config
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Known is what formulas speak of, by name: strings, numbers, and what else JSON has.
type Known map[string]any

// IsZero reports whether there is no formula.
func (f Formula) IsZero() bool { return f == Formula{} }

// String evaluates a formula that gives one string, or a number.
func (f Formula) String(k Known) (string, error) {
	v, err := f.value(k)
	if err != nil {
		return "", err
	}
	text, err := reading{}.text(v, false)
	return text, f.at(err)
}

// Begin is how the string of a formula begins whatever the values are of what it speaks
// of: the part of it that the config says.
func (f Formula) Begin(names ...string) string {
	e, diags := f.parse()
	if diags.HasErrors() {
		return ""
	}
	ctx := &hcl.EvalContext{Functions: pureFunctions(), Variables: map[string]cty.Value{}}
	for _, name := range names {
		ctx.Variables[name] = cty.DynamicVal
	}
	v, _ := e.Value(ctx)
	switch v, _ = v.Unmark(); {
	case v == cty.NilVal || v.Type() != cty.String || v.IsNull():
		return ""
	case v.IsKnown():
		return v.AsString()
	}
	return v.Range().StringPrefix()
}

// Strings evaluates a formula that gives a list of strings.
func (f Formula) Strings(k Known) ([]string, error) {
	v, err := f.value(k)
	if err != nil {
		return nil, err
	}
	list, err := reading{}.texts(v)
	return list, f.at(err)
}

// at says where the formula stands that an error is about. The text may hold secrets,
// so it is not shown.
func (f Formula) at(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s:%d:%d: %w", f.File, f.Line, f.Column, err)
}

// setting is what a formula is parsed behind: here-documents are read in a body only.
const setting = "x = "

func (f Formula) parse() (hclsyntax.Expression, hcl.Diagnostics) {
	file, diags := hclsyntax.ParseConfig([]byte(setting+f.Text+"\n"), f.File, hcl.Pos{Line: f.Line, Column: max(f.Column-len(setting), 1)})
	if diags.HasErrors() {
		return nil, diags
	}
	return file.Body.(*hclsyntax.Body).Attributes["x"].Expr, nil
}

func (f Formula) value(k Known) (cty.Value, error) {
	e, diags := f.parse()
	if diags.HasErrors() {
		return cty.NilVal, f.at(fmt.Errorf("%s", diags[0].Summary))
	}
	ctx := &hcl.EvalContext{Functions: pureFunctions(), Variables: map[string]cty.Value{}}
	for name, v := range k {
		val, err := toCty(v)
		if err != nil {
			return cty.NilVal, f.at(fmt.Errorf("%s: %w", name, err))
		}
		ctx.Variables[name] = val
	}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		d := translate(diags)[0]
		return cty.NilVal, f.at(fmt.Errorf("%s", d.Msg))
	}
	return v, nil
}

// toCty makes a value of what JSON can say. It is done in one pass, since a service may
// answer with much of it, or with lists in lists in lists.
func toCty(v any) (cty.Value, error) {
	switch v := v.(type) {
	case nil:
		return cty.NullVal(cty.DynamicPseudoType), nil
	case string:
		return cty.StringVal(v), nil
	case bool:
		return cty.BoolVal(v), nil
	case int:
		return cty.NumberIntVal(int64(v)), nil
	case json.Number:
		if endless(v) {
			return cty.StringVal(v.String()), nil
		}
		return cty.ParseNumberVal(v.String())
	case map[string]string:
		fields := make(map[string]cty.Value, len(v))
		for name, text := range v {
			fields[name] = cty.StringVal(text)
		}
		return cty.ObjectVal(fields), nil
	case map[string]any:
		fields := make(map[string]cty.Value, len(v))
		for name, one := range v {
			val, err := toCty(one)
			if err != nil {
				return cty.NilVal, err
			}
			fields[name] = val
		}
		return cty.ObjectVal(fields), nil
	case []any:
		list := make([]cty.Value, len(v))
		for i, one := range v {
			val, err := toCty(one)
			if err != nil {
				return cty.NilVal, err
			}
			list[i] = val
		}
		return cty.TupleVal(list), nil
	}
	return cty.NilVal, fmt.Errorf("%T is nothing that expressions know", v)
}

// mostDigits bounds a number in what a service answers.
const mostDigits = 400

// endless reports whether a number is longer than any that is one, written out: 1e9999999
// takes a service nothing to send, and hours to write.
func endless(n json.Number) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(n.String()), "e")
	power, err := strconv.Atoi(exponent)
	return exponent != "" && (err != nil || power > mostDigits || power < -mostDigits) || len(n) > mostDigits
}

// jsonDecode is the function jsondecode.
var jsonDecode = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}},
	Type: func(args []cty.Value) (cty.Type, error) {
		if !args[0].IsKnown() {
			return cty.DynamicPseudoType, nil
		}
		v, err := decodeJSON(args[0].AsString())
		return v.Type(), err
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return decodeJSON(args[0].AsString()) },
})

func decodeJSON(text string) (cty.Value, error) {
	d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after its end")
		}
	}
	if err != nil {
		return cty.DynamicVal, fmt.Errorf("this is no JSON: %w", err)
	}
	return toCty(v)
}

// formula reports whether the setting is a Formula.
func (f *Field) formula() bool { return f.typ == reflect.TypeFor[Formula]() }

// formula checks that what a formula takes from outside can be taken before what it
// speaks of is known.
func (p *parser) formula(at *attribute) {
	for _, n := range outer(at.expr) {
		for _, t := range n.Variables() {
			if slices.Contains(at.field.over, t.RootName()) {
				p.bad(t.SourceRange(), "", "%s is not known yet when env(), file() and exec() are evaluated", t.RootName())
			}
		}
	}
}

// outer returns the parts of an expression that are evaluated when the rest cannot be
// yet: calls of functions that ask outside, and what speaks of the worker; none of them
// in another.
func outer(e hclsyntax.Expression) (list []hclsyntax.Expression) {
	w := &walk{}
	hclsyntax.Walk(e, w)
	return w.found
}

// walk finds the outermost of such parts.
type walk struct {
	found []hclsyntax.Expression
	depth int // of those that it is in
}

func (w *walk) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if !asksOutside(n) {
		return nil
	}
	if w.depth == 0 {
		w.found = append(w.found, n.(hclsyntax.Expression))
	}
	w.depth++
	return nil
}

func (w *walk) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if asksOutside(n) {
		w.depth--
	}
	return nil
}

func asksOutside(n hclsyntax.Node) bool {
	switch n := n.(type) {
	case *hclsyntax.FunctionCallExpr:
		return slices.ContainsFunc(functions[:], func(f Function) bool { return f.Name == n.Name && f.build != nil })
	case *hclsyntax.ScopeTraversalExpr:
		return n.Traversal.RootName() == "worker"
	}
	return false
}

// formula makes a setting's formula: its text, with values in the place of what can be
// evaluated now.
func (e *Evaluation) formula(a *attribute, w *Worker) (any, []Diagnostic) {
	ctx := e.begin(a, w)
	var text bytes.Buffer
	from := a.expr.Range().Start.Byte
	stands := false // a word does, in the place of a value
	for _, part := range outer(a.expr) {
		v, diags := part.Value(ctx)
		e.take(a)
		e.f.hidden.add(a.expr.Range(), append(e.read, secretTexts(v)...))
		if diags.HasErrors() {
			return nil, a.mistakes(diags)
		}
		v, marks := v.UnmarkDeep()
		switch _, hidden := marks[secret]; {
		case !v.IsWhollyKnown() && e.opts.Exec == Placeholder:
			v, stands = cty.StringVal(unknownError{programOf(marks)}.placeholder()), true
		case !v.IsWhollyKnown():
			e.unknown[a] = programOf(marks)
			return nil, nil
		case hidden && e.opts.Redact:
			v, stands = cty.StringVal(Redacted), true
		}
		r := part.Range()
		text.Write(e.f.src[from:r.Start.Byte])
		text.Write(hclwrite.TokensForValue(v).Bytes())
		from = r.End.Byte
	}
	r := a.expr.Range()
	text.Write(e.f.src[from:r.End.Byte])
	f := Formula{Text: strings.TrimRight(text.String(), "\n"), File: e.f.Path, Line: r.Start.Line, Column: r.Start.Column}
	if stands {
		return f, nil
	}
	if err := f.check(a.field); err != nil {
		d := Diagnostic{Range: r, Msg: a.field.Name + ": " + err.Error(), secret: a.field.Secret}
		var hint hintedError
		if errors.As(err, &hint) {
			d.Hint = hint.hint
		}
		return nil, []Diagnostic{d}
	}
	return f, nil
}

// check finds what is wrong in a setting's formula whatever it is evaluated over.
func (f Formula) check(s *Field) error {
	e, diags := f.parse()
	if diags.HasErrors() {
		return errors.New(diags[0].Summary)
	}
	ctx := &hcl.EvalContext{Functions: pureFunctions(), Variables: map[string]cty.Value{}}
	for _, name := range s.over {
		if ctx.Variables[name] = cty.UnknownVal(cty.String); name == "answer" {
			ctx.Variables[name] = cty.DynamicVal
		}
	}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		return errors.New(translate(diags)[0].Msg)
	}
	var err error
	switch t := v.Type(); {
	case s.words:
		var words []string
		if words, err = (reading{placeholders: true}).texts(v); err == nil && (len(words) == 0 || words[0] == "") {
			err = errors.New("it names no program: the first of its words is one")
		}
	case t != cty.DynamicPseudoType && t != cty.String && t != cty.Number:
		err = fmt.Errorf("this must be a string, and is %s", an(t.FriendlyName()))
	}
	return err
}
