package config

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// references finds the launchers that the settings of a block name.
func (p *parser) references(b *Block) []*Launcher {
	var all []*Launcher
	for i := range b.fields {
		a := b.attrs[b.fields[i].Name]
		if a == nil || !a.field.names() {
			continue
		}
		if a.field.typ == reflect.TypeFor[References]() {
			p.several(a)
		} else if l := p.one(a); l != nil {
			a.refs = []*Launcher{l}
		}
		all = append(all, a.refs...)
	}
	return all
}

// one finds the launcher of a setting that names one of a certain kind.
func (p *parser) one(a *attribute) *Launcher {
	name, kind := a.field.local(), a.field.kind
	l := p.reference(a.expr, name+" = launcher."+kind+".NAME")
	if l != nil && l.Kind != kind {
		p.bad(a.expr.Range(), name+" = launcher."+kind+".NAME", "%s leads through a launcher of kind %s, and launcher %s is of another kind", name, kind, l.Full())
		return nil
	}
	return l
}

// several finds the launchers of a setting that may name many, or "local".
func (p *parser) several(a *attribute) {
	exprs := []hcl.Expression{a.expr}
	if list, diags := hcl.ExprList(a.expr); !diags.HasErrors() {
		exprs = list
	}
	for _, e := range exprs {
		if v, diags := e.Value(nil); !diags.HasErrors() && v.Type() == cty.String && !v.IsNull() && v.AsString() == Local {
			a.refs = append(a.refs, p.f.local)
			continue
		}
		if l := p.reference(e, a.field.local()+` = launcher.cluster.NAME, a list of such, or "local"`); l != nil {
			a.refs = append(a.refs, l)
		}
	}
}

// reference reads launcher.KIND.NAME.
func (p *parser) reference(e hcl.Expression, hint string) *Launcher {
	traversal, diags := hcl.AbsTraversalForExpr(e)
	var words []string
	for _, step := range traversal {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			words = append(words, s.Name)
		case hcl.TraverseAttr:
			words = append(words, s.Name)
		}
	}
	if diags.HasErrors() || len(words) != len(traversal) || len(words) != 3 || words[0] != "launcher" {
		p.bad(e.Range(), hint, "this names no launcher")
		return nil
	}
	var all []string
	for _, l := range p.f.Launchers {
		if l.Kind == words[1] && l.Name == words[2] {
			return l
		}
		all = append(all, "launcher."+l.Full())
	}
	hint = nearest(strings.Join(words, "."), all)
	p.bad(e.Range(), cmp.Or(hint, `a launcher is a block of its own: launcher "cluster" "NAME" { ... }`), "there is no %s", strings.Join(words, "."))
	return nil
}

// circle notes a launcher that is reached through itself, and breaks the circle.
func (p *parser) circle(l *Launcher) {
	seen := map[*Launcher]bool{l: true}
	for at := l; at.Via != nil; at = at.Via {
		if seen[at.Via] {
			p.bad(at.viaRange(), "", "launcher %s would be reached through itself", at.Full())
			at.Via = nil
			return
		}
		seen[at.Via] = true
	}
}

// viaRange is where it stands that a launcher is reached through another one.
func (l *Launcher) viaRange() hcl.Range {
	for _, a := range l.attrs {
		if len(a.refs) > 0 {
			return a.expr.Range()
		}
	}
	return l.Range
}
