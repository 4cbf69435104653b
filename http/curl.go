package http

import (
	"fmt"
	"strings"
)

// quoted writes a text as curl's configuration reads it between quotes.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// Curl is the request as a person makes it: the command line, and what it reads. All of
// the request is in the latter, since others on the machine see the arguments. caFile
// may be empty. A body of more than some 100 KB needs a newer curl than 8.0.
//
// Every line of stdin begins with the name of an option, so that it can stand in a
// here-document.
func Curl(r Request, caFile string) (argv []string, stdin string) {
	argv = []string{"curl", "-sS", "-K", "-"}
	var b strings.Builder
	set := func(name, value string) { fmt.Fprintf(&b, "%s = \"%s\"\n", name, quoted.Replace(value)) }
	if strings.Contains(r.Body, "\x00") {
		return argv, "# The body of this request has a NUL byte, which curl cannot read here.\n"
	}
	address := r.URL
	if u, err := parse(r.URL); err == nil {
		address = u.String()
	}
	set("url", address)
	b.WriteString("globoff\npath-as-is\n")
	if r.method() == "HEAD" {
		b.WriteString("head\n")
	} else {
		set("request", r.method())
	}
	if r.Socket != "" {
		set("unix-socket", r.Socket)
		set("noproxy", "*")
	}
	if caFile != "" {
		set("cacert", caFile)
	}
	body := r.Body != "" || r.method() == "POST" || r.method() == "PUT" || r.method() == "PATCH"
	for _, h := range r.curlHeaders(body) {
		set("header", h)
	}
	if body {
		set("data-raw", r.Body)
	}
	return argv, b.String()
}

// curlHeaders are the headers, and what keeps curl from adding its own.
func (r Request) curlHeaders(body bool) []string {
	var list []string
	for _, h := range r.Headers {
		switch value := strings.Trim(h.Value, " \t"); {
		case value != "":
			list = append(list, h.Name+": "+value)
		case strings.EqualFold(h.Name, "User-Agent"):
			list = append(list, h.Name+":")
		default:
			list = append(list, h.Name+";")
		}
	}
	if _, has := r.header("User-Agent"); !has {
		list = append(list, "User-Agent: muster")
	}
	own := []string{"Accept", "Expect"}
	if body {
		own = append(own, "Content-Type")
	}
	for _, name := range own {
		if _, has := r.header(name); !has {
			list = append(list, name+":")
		}
	}
	return list
}
