package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"muster/rng"
)

// Field is one setting as the tags of a struct's field declare it:
//
//	set      its name
//	doc      what it means
//	example  a value: the text of a string, what stands in a config for others
//	expr     in the place of example: an expression, as it stands in a config
//	default  the value that it has if it is not set, as it is written on a command line
//	unset    in words, what happens if it is not set and has no default
//	near     what others call it, separated by commas
//	oneof    the values that it may have, separated by commas
//	like     what others call these, as OTHER=VALUE, separated by commas
//	over     of a Formula: the names that it may speak of, separated by commas; all but answer are strings
//	unit     "true" if a duration or a size has to have one
//	words    "true" if a Formula gives a list of strings
//	kind     of a Reference: the kind of launcher that it may name
//	secret   "true" if its value is never shown
//
// A field that is a struct of settings is an inner block.
type Field struct {
	Name    string // BLOCK.NAME in an inner block
	Block   string // the inner block that it stands in, or is; else empty
	Type    string // in words; "block" for an inner block itself
	Doc     string
	Example string // as it stands in a config
	Default string
	Unset   string
	Near    []string
	OneOf   []string
	Secret  bool

	unit  bool
	like  map[string]string
	over  []string
	words bool
	kind  string
	typ   reflect.Type
	index []int
}

// blockType is the Type of an inner block.
const blockType = "block"

// Fields lists the settings of a struct in the order of its fields: an inner
// block, and what may stand in it behind it. It panics if a tag or a type of
// the struct is none that is known.
func Fields(settings any) []Field {
	return fieldsOf(structOf(settings), Field{}, nil)
}

func structOf(settings any) reflect.Type {
	t := reflect.TypeOf(settings)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: settings are a struct, and not %T", settings))
	}
	return t
}

// fieldsOf lists the settings of a struct that is the inner block outer.
func fieldsOf(t reflect.Type, outer Field, index []int) []Field {
	var list []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		f := newField(sf, append(index[:len(index):len(index)], i))
		if outer.Name != "" {
			f.Block = outer.Name
			f.Name = outer.Name + "." + f.Name
		}
		if f.Type == blockType {
			f.Block = f.Name
			list = append(list, f)
			list = append(list, fieldsOf(sf.Type, f, f.index)...)
			continue
		}
		list = append(list, f)
	}
	return list
}

func newField(sf reflect.StructField, index []int) Field {
	f := Field{Name: sf.Tag.Get("set"), Doc: sf.Tag.Get("doc"), Default: sf.Tag.Get("default"), Unset: sf.Tag.Get("unset"),
		Near: words(sf.Tag.Get("near")), OneOf: words(sf.Tag.Get("oneof")), Secret: sf.Tag.Get("secret") == "true",
		unit: sf.Tag.Get("unit") == "true", over: words(sf.Tag.Get("over")), words: sf.Tag.Get("words") == "true", kind: sf.Tag.Get("kind"), typ: sf.Type, index: index, like: map[string]string{}}
	if f.Name == "" || f.Doc == "" {
		panic(fmt.Sprintf("config: the field %s of settings has no name or no meaning", sf.Name))
	}
	for _, pair := range words(sf.Tag.Get("like")) {
		other, value, _ := strings.Cut(pair, "=")
		f.like[other] = value
	}
	f.Type = typeWords(sf.Type)
	f.Example = sf.Tag.Get("expr")
	if f.Example == "" {
		f.Example = f.literal(sf.Tag.Get("example"))
	}
	return f
}

func words(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// typeWords names the type of a setting.
func typeWords(t reflect.Type) string {
	switch reflect.Zero(t).Interface().(type) {
	case string, Text:
		return "string"
	case []string:
		return "list of strings"
	case int, Count, rng.Streams:
		return "whole number"
	case bool:
		return "true or false"
	case time.Duration:
		return "duration"
	case Size:
		return "size"
	case Array:
		return "string or number"
	case URLs:
		return "string or list of strings"
	case TextFile:
		return "path"
	case Pairs:
		return "object of strings"
	case Words:
		return "list of strings, or list of such lists"
	case Data:
		return "any value"
	case Formula:
		return "expression"
	case Reference:
		return "launcher"
	case References:
		return "launcher or list of launchers"
	}
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: no setting can be a %s", t))
	}
	return blockType
}

// literal writes an example as it stands in a config.
func (f *Field) literal(example string) string {
	switch zero(f).(type) {
	case string, Text, time.Duration, Size, Array, TextFile:
		return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(example))
	}
	return example
}

// names reports whether the setting names launchers.
func (f *Field) names() bool {
	return f.typ == reflect.TypeFor[Reference]() || f.typ == reflect.TypeFor[References]()
}

// local is the name of a field within its block.
func (f *Field) local() string {
	if f.Type != blockType {
		return strings.TrimPrefix(f.Name, f.Block+".")
	}
	return f.Name
}

// assignment is an example of the setting, as it stands in its block.
func (f *Field) assignment() string {
	if f.Type == blockType {
		return f.local() + " { ... }"
	}
	return f.local() + " = " + f.Example
}

// Set gives a setting the value that a command line says in one text, or several
// for a list. name may be BLOCK.NAME.
func Set(settings any, name string, texts ...string) error {
	v := reflect.ValueOf(settings).Elem()
	for _, f := range Fields(settings) {
		if f.Name == name && f.Type != blockType {
			return f.set(v, texts)
		}
	}
	return fmt.Errorf("there is no setting %q", name)
}

func (f *Field) set(v reflect.Value, texts []string) error {
	var list []cty.Value
	for _, t := range texts {
		list = append(list, cty.StringVal(t))
	}
	val := cty.TupleVal(list)
	_, isList := zero(f).([]string)
	if _, urls := zero(f).(URLs); !isList && !urls {
		if len(list) != 1 {
			return fmt.Errorf("%s is one value, and there are %d", f.Name, len(list))
		}
		val = list[0]
	}
	got, err := reading{}.value(f, val)
	if err != nil {
		return err
	}
	if file, ok := got.(TextFile); ok {
		if file.Text, err = readText(file.Path); err != nil {
			return err
		}
		got = file
	}
	v.FieldByIndex(f.index).Set(reflect.ValueOf(got))
	return nil
}

// inBlock are the fields that may stand in an inner block, or in the block itself.
func inBlock(inner string, fields []Field) (list []Field) {
	for _, f := range fields {
		if f.Type == blockType && inner == "" || f.Type != blockType && f.Block == inner {
			list = append(list, f)
		}
	}
	return list
}
