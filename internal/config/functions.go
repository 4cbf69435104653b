package config

import (
	"errors"
	"fmt"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Function is one that expressions may call.
type Function struct {
	Name string
	Use  string // as it is called
	Doc  string

	build func(*Evaluation) function.Function
}

// Functions lists the functions that expressions may call.
func Functions() []Function { return functions[:] }

var functions = [...]Function{
	{"env", `env("NAME")`, "a variable of the environment in which the command was typed; an error if it is not set", (*Evaluation).env},
	{"file", `file("PATH")`, "the text of a file, 4 MiB at most; PATH counts from the config's folder", (*Evaluation).file},
	{"exec", `exec(["PROGRAM", "ARG"])`, "what a program prints, less its last line break: words, no shell, from the config's folder", (*Evaluation).exec},
	{"host_url", `host_url({ port = 5555, interface = "ib0", family = "ipv4" })`, "URLs of this machine, best first: by its name and the addresses of its interfaces, or of some of them; every option may be left out", fixed(urlFunc(hostURLs, localOptions, hostOptions))},
	{"local_url", `local_url({ port = 5555 })`, "the URL of this machine's loopback, or of a socket without a port", fixed(urlFunc(localURLs, localOptions))},
	{"jsonencode", `jsonencode({ a = 1 })`, "a value as JSON", fixed(stdlib.JSONEncodeFunc)},
	{"join", `join(",", ["a", "b"])`, "a list as one string, with something between", fixed(stdlib.JoinFunc)},
	{"format", `format("%03d", 7)`, "values in a pattern, as printf has it", fixed(stdlib.FormatFunc)},
	{"concat", `concat(["a"], ["b"])`, "lists behind one another", fixed(stdlib.ConcatFunc)},
	{"lower", `lower("A")`, "a string in small letters", fixed(stdlib.LowerFunc)},
	{"upper", `upper("a")`, "a string in capitals", fixed(stdlib.UpperFunc)},
	{"trimspace", `trimspace(" a ")`, "a string without the blanks around it", fixed(stdlib.TrimSpaceFunc)},
	{"replace", `replace("a-b", "-", "_")`, "a string with one piece replaced by another everywhere", fixed(stdlib.ReplaceFunc)},
}

// fixed is a function that is the same in every evaluation.
func fixed(f function.Function) func(*Evaluation) function.Function {
	return func(*Evaluation) function.Function { return f }
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
		return cty.StringVal(text), err
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
			if v.IsKnown() {
				e.read = append(e.read, v.AsString())
			}
			return v.Mark(secret), nil
		},
	})
}
