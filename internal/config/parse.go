package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Parse reads the text of a config that is called path. Mistakes in it are an
// *Error: of names, references and values that are written out.
func Parse(path string, src []byte, schema Schema) (*File, error) {
	f := &File{Path: path, src: src, dir: filepath.Dir(path), schema: schema, local: &Launcher{Kind: Local, Name: Local}}
	if r, deep := tooDeep(path, src); deep {
		return nil, f.Errors([]Diagnostic{{Range: r, Msg: fmt.Sprintf("this expression has more than %d brackets and operators within one another", maxDepth)}})
	}
	parsed, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, f.Errors(translate(diags))
	}
	p := parser{f: f, kinds: map[string][]Field{}}
	for _, k := range schema.Kinds {
		p.kinds[k.Name] = Fields(k.Settings)
	}
	p.top(parsed.Body.(*hclsyntax.Body))
	if err := f.Errors(p.diags); err != nil {
		return nil, err
	}
	return f, nil
}

// parser gathers every mistake in the names of a config.
type parser struct {
	f     *File
	kinds map[string][]Field // by name
	diags []Diagnostic
}

func (p *parser) bad(r hcl.Range, hint, format string, args ...any) {
	p.diags = append(p.diags, Diagnostic{Range: r, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (p *parser) top(body *hclsyntax.Body) {
	for _, a := range sorted(body.Attributes) {
		p.bad(a.NameRange, "settings stand in launcher and profile blocks", "%q cannot stand here", a.Name)
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case "launcher":
			p.launcher(b)
		case "profile":
			p.profileBlock(b)
		default:
			p.bad(b.TypeRange, nearest(b.Type, []string{"launcher", "profile"}), "there is no block %q: a config has launcher and profile blocks", b.Type)
		}
	}
	for _, l := range p.f.Launchers {
		if found := p.references(&l.Block); len(found) > 0 {
			l.Via = found[0]
		}
	}
	for _, l := range p.f.Launchers {
		p.circle(l)
	}
	for _, pr := range p.f.Profiles {
		pr.Launchers = p.references(&pr.Block)
	}
}

func (p *parser) launcher(b *hclsyntax.Block) {
	if len(b.Labels) != 2 {
		p.bad(b.DefRange(), fmt.Sprintf("launcher %q \"NAME\" { ... }", p.f.schema.Kinds[0].Name), "a launcher has a kind and a name")
		return
	}
	kind, name := b.Labels[0], b.Labels[1]
	if p.kinds[kind] == nil {
		p.unknownKind(kind, b.LabelRanges[0])
		return
	}
	p.identifier(name, b.LabelRanges[1])
	if slices.ContainsFunc(p.f.Launchers, func(l *Launcher) bool { return l.Kind == kind && l.Name == name }) {
		p.bad(b.LabelRanges[1], "", "there is another launcher %q of kind %s above", name, kind)
	}
	l := &Launcher{Kind: kind, Name: name, Block: newBlock(b.DefRange(), p.settingsOf(kind))}
	l.worker = true
	p.settings(b.Body, &l.Block, "")
	p.f.Launchers = append(p.f.Launchers, l)
}

// settingsOf is the struct of a kind's settings.
func (p *parser) settingsOf(kind string) any {
	i := slices.IndexFunc(p.f.schema.Kinds, func(k Kind) bool { return k.Name == kind })
	return p.f.schema.Kinds[i].Settings
}

func newBlock(r hcl.Range, settings any) Block {
	return Block{Range: r, typ: structOf(settings), fields: Fields(settings), attrs: map[string]*attribute{}}
}

func (p *parser) unknownKind(kind string, r hcl.Range) {
	var names []string
	for _, k := range p.f.schema.Kinds {
		names = append(names, k.Name)
	}
	hint := nearest(kind, names)
	if kind == Local {
		hint = `workers on this machine need no block: launcher = "local" in a profile`
	} else if value := p.valueOf(strings.ToLower(kind)); value != "" {
		hint = value
	}
	p.bad(r, hint, "there is no launcher of kind %q: they are %s", kind, strings.Join(names, ", "))
}

// valueOf is the launcher in which a word is one of the few values of a setting, or what
// others call such a value; empty if there is none.
func (p *parser) valueOf(word string) string {
	for _, k := range p.f.schema.Kinds {
		for _, f := range p.kinds[k.Name] {
			value := cmp.Or(f.like[word], word)
			if slices.Contains(f.OneOf, value) {
				return fmt.Sprintf("launcher %q \"NAME\" with %s = %q", k.Name, f.Name, value)
			}
		}
	}
	return ""
}

func (p *parser) profileBlock(b *hclsyntax.Block) {
	if len(b.Labels) != 1 {
		p.bad(b.DefRange(), `profile "NAME" { ... }`, "a profile has a name")
		return
	}
	name := b.Labels[0]
	p.identifier(name, b.LabelRanges[0])
	if slices.ContainsFunc(p.f.Profiles, func(pr *Profile) bool { return pr.Name == name }) {
		p.bad(b.LabelRanges[0], "", "there is another profile %q above", name)
	}
	pr := &Profile{Name: name, Block: newBlock(b.DefRange(), p.f.schema.Profile)}
	p.settings(b.Body, &pr.Block, "")
	p.f.Profiles = append(p.f.Profiles, pr)
}

func (p *parser) identifier(name string, r hcl.Range) {
	if !hclsyntax.ValidIdentifier(name) {
		p.bad(r, "", "%q is no name: it has letters, digits, _ and -, and begins with a letter", name)
	}
}

// settings reads what stands in a block, or in one of its inner blocks.
func (p *parser) settings(body *hclsyntax.Body, b *Block, inner string) {
	for _, a := range sorted(body.Attributes) {
		f := b.field(inner, a.Name)
		switch {
		case f == nil:
			p.bad(a.NameRange, p.meant(a.Name, inner, b.fields), "there is no setting %q here", a.Name)
			continue
		case f.Type == blockType:
			p.bad(a.NameRange, f.assignment(), "%s is a block", a.Name)
			continue
		}
		at := &attribute{field: f, expr: a.Expr}
		b.attrs[f.Name] = at
		if !f.names() {
			p.expression(at, b.worker)
		}
	}
	seen := map[string]bool{}
	for _, in := range body.Blocks {
		f := b.field(inner, in.Type)
		switch {
		case f == nil || inner != "":
			p.bad(in.TypeRange, p.meant(in.Type, inner, b.fields), "there is no block %q here", in.Type)
		case f.Type != blockType:
			p.bad(in.TypeRange, f.assignment(), "%s is a setting, and no block", in.Type)
		case len(in.Labels) > 0:
			p.bad(in.LabelRanges[0], f.assignment(), "the block %s has no name", in.Type)
		case seen[in.Type]:
			p.bad(in.TypeRange, "", "there is another block %s above", in.Type)
		default:
			seen[in.Type] = true
			p.settings(in.Body, b, in.Type)
		}
	}
}

// field finds what a name is in a block or an inner block; nil if it is nothing.
func (b *Block) field(inner, name string) *Field {
	if inner != "" {
		name = inner + "." + name
	} else if strings.Contains(name, ".") {
		return nil
	}
	for i := range b.fields {
		if b.fields[i].Name == name {
			return &b.fields[i]
		}
	}
	return nil
}

// meant hints at what a name that is not known here may stand for: another name,
// or the same one in another block.
func (p *parser) meant(word, inner string, fields []Field) string {
	for _, f := range fields {
		if f.Type != blockType && f.Block != inner && f.local() == word {
			if f.Block == "" {
				return fmt.Sprintf("%s stands outside of the block %s", word, inner)
			}
			return fmt.Sprintf("it stands in an inner block: %s { %s = ... }", f.Block, word)
		}
	}
	plain := strings.ReplaceAll(strings.ToLower(word), "-", "_")
	all := inBlock(inner, fields)
	for _, f := range all {
		if slices.Contains(f.Near, plain) {
			return fmt.Sprintf("did you mean %q? Such as %s", f.local(), f.assignment())
		}
	}
	var names []string
	for _, f := range all {
		names = append(names, f.local())
	}
	if hint := cmp.Or(nearest(plain, names), p.elsewhere(plain)); hint != "" {
		return hint
	}
	return "there are " + strings.Join(names, ", ")
}

// elsewhere is a hint at other blocks that have a setting of this name, or one that others
// call so; it is empty if there is none.
func (p *parser) elsewhere(name string) string {
	find := func(fields []Field) (Field, bool) {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name || f.Block == "" && slices.Contains(f.Near, name) })
		if i < 0 {
			return Field{}, false
		}
		return fields[i], true
	}
	kinds := slices.Sorted(maps.Keys(p.kinds))
	for _, kind := range kinds {
		if f, ok := find(p.kinds[kind]); ok && f.Name == name {
			return fmt.Sprintf("it is a setting of launchers of kind %s", kind)
		}
	}
	if f, ok := find(Fields(p.f.schema.Profile)); ok && f.Name == name {
		return "it is a setting of profiles"
	}
	for _, kind := range kinds {
		if f, ok := find(p.kinds[kind]); ok {
			return fmt.Sprintf("it is %s of launchers of kind %s, such as %s", f.Name, kind, f.assignment())
		}
	}
	return ""
}

// expression checks the names in an expression, and its value if that is written out.
func (p *parser) expression(at *attribute, worker bool) {
	before := len(p.diags)
	for _, t := range at.expr.Variables() {
		p.variable(at, t, worker)
	}
	calls := p.functions(at.expr)
	if at.field.formula() {
		p.formula(at)
		return
	}
	if len(p.diags) > before || calls || len(at.expr.Variables()) > 0 {
		return
	}
	v, diags := at.expr.Value(nil)
	if diags.HasErrors() {
		p.diags = append(p.diags, at.mistakes(diags)...)
		return
	}
	if _, err := (reading{}).value(at.field, v); err != nil {
		p.diags = append(p.diags, at.mistake(err))
	}
}

// mistake is one in the value of a setting.
func (a *attribute) mistake(err error) Diagnostic {
	d := Diagnostic{Range: a.expr.Range(), Msg: a.field.local() + ": " + err.Error(), cause: err, secret: a.field.Secret}
	var hinted hintedError
	if errors.As(err, &hinted) {
		d.Hint = hinted.hint
		if strings.HasPrefix(hinted.msg, a.field.local()+" is ") {
			d.Msg = hinted.msg
		}
	}
	return d
}

// mistakes are what hcl found in the expression of a setting.
func (a *attribute) mistakes(diags hcl.Diagnostics) []Diagnostic {
	list := translate(diags)
	for i := range list {
		list[i].secret = a.field.Secret
	}
	return list
}

// shellHint is for what looks like an expression and is a shell's.
const shellHint = "in shell text write $${NAME} and %%{...} for ${NAME} and %{...}, or keep it in a file named by options_file"

// variable checks one name in an expression.
func (p *parser) variable(at *attribute, t hcl.Traversal, worker bool) {
	switch root := t.RootName(); {
	case slices.Contains(at.field.over, root):
		return
	case root == "launcher":
		p.bad(t.SourceRange(), "", "a launcher cannot be named here")
		return
	case root != "worker":
		hint := fmt.Sprintf("a string stands in quotes: %q", root)
		if text := at.expr.Range().SliceBytes(p.f.src); bytes.Contains(text, []byte("${")) || bytes.Contains(text, []byte("%{")) {
			hint = shellHint
		}
		if at.field.formula() {
			hint = "this one speaks of " + strings.Join(append(slices.Clone(at.field.over), "worker"), " and ")
		}
		p.bad(t.SourceRange(), hint, "there is no %s in expressions", root)
		return
	case !worker:
		p.bad(t.SourceRange(), "", "a profile is for many workers: worker is known to launchers only")
		return
	}
	word := whole
	if len(t) > 1 {
		switch step := t[1].(type) {
		case hcl.TraverseAttr:
			word = step.Name
		case hcl.TraverseIndex:
			if step.Key.Type() == cty.String {
				word = step.Key.AsString()
			}
		}
	}
	if names := workerNames(); word != whole && !slices.Contains(names, word) {
		p.bad(t.SourceRange(), nearest(word, names), "there is no worker.%s: there are worker.%s", word, strings.Join(names, ", worker."))
		return
	}
	at.worker = append(at.worker, word)
}

// functions checks the names of functions, and reports whether any is called.
func (p *parser) functions(e hclsyntax.Expression) bool {
	called := false
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			called = true
			if names := functionNames(); !slices.Contains(names, call.Name) {
				p.bad(call.NameRange, nearest(call.Name, names), "there is no function %s: there are %s", call.Name, strings.Join(names, ", "))
			}
		}
		return nil
	})
	return called
}

// sorted returns attributes in the order in which they stand.
func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(attrs), func(a, b *hclsyntax.Attribute) int {
		return a.NameRange.Start.Byte - b.NameRange.Start.Byte
	})
}
