package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// urlFunc makes host_url and local_url, whose options are an object of port
// and tls, both optional.
func urlFunc(f func(port int, tcp bool) ([]string, error)) function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "options", Type: cty.DynamicPseudoType},
		Type:     function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			port, tcp := 0, false
			if len(args) > 0 {
				if !args[0].Type().IsObjectType() {
					return cty.UnknownVal(t), fmt.Errorf("options are written { port = 5555 }")
				}
				for name, v := range args[0].AsValueMap() {
					switch {
					case name == "port" && v.Type() == cty.Number:
						n, _ := v.AsBigFloat().Int64()
						if n < 0 || n > 65535 {
							return cty.UnknownVal(t), fmt.Errorf("%d is no port", n)
						}
						port = int(n)
					case name == "tcp" && v.Type() == cty.Bool:
						tcp = v.True()
					case name == "tls" && v.Type() == cty.Bool:
						// muster's workers always speak TLS.
					default:
						return cty.UnknownVal(t), fmt.Errorf("there is no option %s here: port is a number, tls and tcp are true or false", name)
					}
				}
			}
			urls, err := f(port, tcp)
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

// hostURLs lists one address for each interface and the host's name first.
func hostURLs(port int, _ bool) ([]string, error) {
	var urls []string
	add := func(host string) {
		if u := "tls+tcp://" + net.JoinHostPort(host, strconv.Itoa(port)); !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	if host, err := os.Hostname(); err == nil {
		add(host)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the network's interfaces: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() && !n.IP.IsLoopback() {
			add(n.IP.String())
		}
	}
	return urls, nil
}

func localURLs(port int, tcp bool) ([]string, error) {
	if tcp || port != 0 {
		return []string{"tls+tcp://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, nil
	}
	return []string{"unix://"}, nil
}
