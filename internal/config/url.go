package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"muster/internal/address"
)

// urlOptions are what host_url and local_url are given.
type urlOptions struct {
	port   int
	tcp    bool
	plain  bool           // for other people's workers, which dial without TLS
	choice address.Choice // of host_url
}

// urlOption is one of their options: what its value is, and what becomes of that. set
// is called with a value that is known and not null.
type urlOption struct {
	is  string
	set func(*urlOptions, cty.Value) error
}

var localOptions = map[string]urlOption{
	"port": {"a number", func(o *urlOptions, v cty.Value) error {
		if v.Type() != cty.Number {
			return errKind
		}
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact || n < 0 || n > 65535 {
			return fmt.Errorf("%s is no port", v.AsBigFloat().Text('g', 20))
		}
		o.port = int(n)
		return nil
	}},
	"tcp": {"true or false", func(o *urlOptions, v cty.Value) error {
		if v.Type() != cty.Bool {
			return errKind
		}
		o.tcp = v.True()
		return nil
	}},
	// muster's own workers speak TLS whatever it is.
	"tls": {"true or false", func(o *urlOptions, v cty.Value) error {
		if v.Type() != cty.Bool {
			return errKind
		}
		o.plain = v.False()
		return nil
	}},
}

// hostOptions are those that host_url has beside.
var hostOptions = map[string]urlOption{
	"interface": {"a name, or a list of names", func(o *urlOptions, v cty.Value) error {
		list := []cty.Value{v}
		if t := v.Type(); t.IsListType() || t.IsTupleType() || t.IsSetType() {
			list = v.AsValueSlice()
		}
		for _, name := range list {
			if name.Type() != cty.String || name.IsNull() || !name.IsKnown() {
				return errKind
			}
			o.choice.Interfaces = append(o.choice.Interfaces, name.AsString())
		}
		if len(list) == 0 {
			return fmt.Errorf("interface is an empty list: name one, or leave it out for all")
		}
		return nil
	}},
	"family": {`"ipv4" or "ipv6"`, func(o *urlOptions, v cty.Value) (err error) {
		if v.Type() != cty.String {
			return errKind
		}
		o.choice.Family, err = address.ParseFamily(v.AsString())
		return err
	}},
}

// errKind says that an option's value is of another kind.
var errKind = errors.New("it is of another kind")

// urlFunc makes host_url and local_url, whose options are an object, which may be
// left out.
func urlFunc(f func(urlOptions) ([]string, error), known ...map[string]urlOption) function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "options", Type: cty.DynamicPseudoType},
		Type:     function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			o, err := readURLOptions(args, known)
			if err != nil {
				return cty.UnknownVal(t), err
			}
			urls, err := f(o)
			if err != nil {
				return cty.UnknownVal(t), err
			}
			var list []cty.Value
			for _, u := range urls {
				list = append(list, cty.StringVal(u))
			}
			return cty.ListVal(list), nil
		},
	})
}

func readURLOptions(args []cty.Value, known []map[string]urlOption) (o urlOptions, err error) {
	switch {
	case len(args) == 0:
		return o, nil
	case len(args) > 1:
		return o, fmt.Errorf("all options are written in one object, { port = 5555, tls = true }")
	case !args[0].Type().IsObjectType():
		return o, fmt.Errorf("options are written { port = 5555 }")
	}
	there := map[string]urlOption{}
	for _, m := range known {
		maps.Copy(there, m)
	}
	given := args[0].AsValueMap()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		option, ok := there[name]
		if !ok {
			return o, fmt.Errorf("there is no option %s here: there are %s", name, strings.Join(slices.Sorted(maps.Keys(there)), ", "))
		}
		v := given[name]
		err := errKind
		if v.IsKnown() && !v.IsNull() {
			err = option.set(&o, v)
		}
		if errors.Is(err, errKind) {
			return o, fmt.Errorf("%s is %s", name, option.is)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// hostURLs lists where other machines reach this one, best first.
func hostURLs(o urlOptions) ([]string, error) {
	var names address.Names
	if !o.choice.Some() {
		names = address.LookUp(context.Background())
	}
	m, err := address.Here(names)
	if err != nil {
		return nil, err
	}
	list, err := m.Addresses(o.choice)
	var urls []string
	for _, a := range list {
		urls = append(urls, o.url(a.Host))
	}
	return urls, err
}

func localURLs(o urlOptions) ([]string, error) {
	if o.tcp || o.port != 0 || o.plain {
		return []string{o.url("127.0.0.1")}, nil
	}
	return []string{"unix://"}, nil
}

func (o urlOptions) url(host string) string {
	scheme := "tls+tcp://"
	if o.plain {
		scheme = "tcp://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(o.port))
}
