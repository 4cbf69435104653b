package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Function is one that expressions may call.
type Function struct {
	Name string
	Use  string // as it is called
	Doc  string

	build func(*Evaluation) function.Function // nothing for one that is pure
	pure  function.Function
}

// Functions lists the functions that expressions may call.
func Functions() []Function { return functions[:] }

var functions = [...]Function{
	{Name: "env", Use: `env("NAME")`, Doc: "a variable of the environment in which the command was typed; an error if it is not set", build: (*Evaluation).env},
	{Name: "file", Use: `file("PATH")`, Doc: "the text of a file, 4 MiB at most; PATH counts from the config's folder", build: (*Evaluation).file},
	{Name: "exec", Use: `exec(["PROGRAM", "ARG"])`, Doc: "what a program prints, less its last line break: words, no shell, from the config's folder", build: (*Evaluation).exec},
	{Name: "host_url", Use: `host_url({ port = 5555, interface = "ib0", family = "ipv4" })`, Doc: "URLs of this machine, best first: by its name and the addresses of its interfaces, or of some of them; every option may be left out; tls = false writes tcp://, for other people's workers", pure: urlFunc(hostURLs, localOptions, hostOptions)},
	{Name: "local_url", Use: `local_url({ port = 5555 })`, Doc: "the URL of this machine's loopback, or of a socket without a port", pure: urlFunc(localURLs, localOptions)},
	{Name: "jsonencode", Use: `jsonencode({ a = 1 })`, Doc: "a value as JSON", pure: stdlib.JSONEncodeFunc},
	{Name: "jsondecode", Use: `jsondecode("{\"a\": 1}").a`, Doc: "the value that JSON text stands for", pure: jsonDecode},
	{Name: "regex", Use: `regex("job ([0-9]+)", "job 12 is queued")[0]`, Doc: "what a regular expression finds: a string, or a list of its groups; an error if it finds nothing", pure: stdlib.RegexFunc},
	{Name: "split", Use: `split(",", "a,b")`, Doc: "the parts of a string as a list", pure: stdlib.SplitFunc},
	{Name: "try", Use: `try(answer.json.id, answer.headers.location)`, Doc: "the first of its arguments that is no error", pure: tryfunc.TryFunc},
	{Name: "urlencode", Use: `urlencode("a b")`, Doc: "a string as a part of a URL", pure: urlEncode},
	{Name: "base64encode", Use: `base64encode("a")`, Doc: "a string in base64", pure: base64Encode},
	{Name: "join", Use: `join(",", ["a", "b"])`, Doc: "a list as one string, with something between", pure: stdlib.JoinFunc},
	{Name: "format", Use: `format("%03d", 7)`, Doc: "values in a pattern, as printf has it", pure: stdlib.FormatFunc},
	{Name: "concat", Use: `concat(["a"], ["b"])`, Doc: "lists behind one another", pure: stdlib.ConcatFunc},
	{Name: "lower", Use: `lower("A")`, Doc: "a string in small letters", pure: stdlib.LowerFunc},
	{Name: "upper", Use: `upper("a")`, Doc: "a string in capitals", pure: stdlib.UpperFunc},
	{Name: "trimspace", Use: `trimspace(" a ")`, Doc: "a string without the blanks around it", pure: stdlib.TrimSpaceFunc},
	{Name: "replace", Use: `replace("a-b", "-", "_")`, Doc: "a string with one piece replaced by another everywhere", pure: stdlib.ReplaceFunc},
}

// pureFunctions are those that know nothing but their arguments.
func pureFunctions() map[string]function.Function {
	all := map[string]function.Function{}
	for _, f := range functions {
		if f.build == nil {
			all[f.Name] = f.pure
		}
	}
	return all
}

// urlEncode writes a string so that it can be a part of a URL.
var urlEncode = textFunc(url.PathEscape)

// base64Encode is for services that want their text so.
var base64Encode = textFunc(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) })

// textFunc makes a function of a string that gives a string.
func textFunc(f func(string) string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(f(args[0].AsString())), nil
		},
	})
}

func functionNames() []string {
	var names []string
	for _, f := range functions {
		names = append(names, f.Name)
	}
	return names
}

func (e *Evaluation) env() function.Function {
	return e.outside("name", cty.String, func(v cty.Value) (cty.Value, error) {
		text, ok := e.opts.Getenv(v.AsString())
		if !ok {
			return cty.NilVal, fmt.Errorf("the environment variable %s is not set", v.AsString())
		}
		return cty.StringVal(text), nil
	})
}

func (e *Evaluation) file() function.Function {
	return e.outside("path", cty.String, func(v cty.Value) (cty.Value, error) {
		text, err := e.f.text(v.AsString())
		if err != nil {
			return cty.NilVal, err
		}
		path, err := filepath.Abs(e.f.within(v.AsString()))
		return cty.StringVal(text).Mark(fromFile{path, text}), err
	})
}

func (e *Evaluation) exec() function.Function {
	return e.outside("argv", cty.List(cty.String), func(v cty.Value) (cty.Value, error) {
		var argv []string
		for _, w := range v.AsValueSlice() {
			switch {
			case w.IsNull():
				return cty.NilVal, errors.New("a word is null")
			case !w.IsKnown():
				return cty.UnknownVal(cty.String), nil
			}
			argv = append(argv, w.AsString())
		}
		if len(argv) == 0 || argv[0] == "" {
			return cty.NilVal, errors.New("it needs a program")
		}
		if e.opts.Exec != Run {
			return cty.UnknownVal(cty.String).Mark(notRun(argv[0])), nil
		}
		text, err := e.runOnce(argv)
		return cty.StringVal(text), err
	})
}

// outside makes a function whose value comes from outside of the config, so that
// it is secret.
func (e *Evaluation) outside(param string, t cty.Type, f func(cty.Value) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: t}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f(args[0])
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			if open, _ := v.Unmark(); open.IsKnown() {
				e.read = append(e.read, open.AsString())
			}
			return v.Mark(secret), nil
		},
	})
}
