// Package http asks services over HTTP, the launchers among them: what is sent, what
// is answered, and the presets that know a service.
package http

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Header is one header line of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Request is what a service is asked.
type Request struct {
	Method string `json:"method"` // empty is GET
	URL    string `json:"url"`    // http:// or https://
	// Socket is the path of a unix socket to which the request goes. Empty is TCP, as
	// URL says.
	Socket string `json:"socket,omitempty"`
	// Headers are in order. A name may be there more than once.
	Headers []Header `json:"headers,omitempty"`
	Body    string   `json:"body,omitempty"`
	// Secrets are texts in the body that no person is shown, if a service says them again.
	Secrets []string `json:"secrets,omitempty"`
	// Once says that the request starts something, so it is never sent twice, whatever
	// its method is.
	Once bool `json:"once,omitempty"`
	// Most is how many bytes of the answer's body are kept. 0 is MaxAnswer.
	Most int `json:"most,omitempty"`
}

func (r Request) method() string {
	if r.Method == "" {
		return "GET"
	}
	return r.Method
}

// safe reports whether the request changes nothing, so that it may be sent again.
func (r Request) safe() bool { return !r.Once && (r.method() == "GET" || r.method() == "HEAD") }

// header returns the value of the first header of a name, and whether there is one.
func (r Request) header(name string) (string, bool) {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value, true
		}
	}
	return "", false
}

// Origin is who is asked, for messages: scheme://host:port, or unix:PATH. The user
// info, the path and the query of the URL are never in it.
func Origin(r Request) string {
	if r.Socket != "" {
		return "unix:" + r.Socket
	}
	u, err := parse(r.URL)
	if err != nil {
		return "an address that cannot be read"
	}
	return origin(u)
}

// origin is scheme://host:port, without a port that is the scheme's own.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	own := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port := u.Port(); port != "" && port != own {
		host += ":" + port
	}
	return u.Scheme + "://" + host
}

// parse reads the URL of a service. Its errors do not repeat it, since it may have a
// password or a token.
func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("there is no url: it is like https://HOST:PORT/PATH")
	case err != nil:
		return nil, errors.New("the url cannot be read: it is like https://HOST:PORT/PATH")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the url begins with neither http:// nor https://")
	case u.Hostname() == "":
		return nil, errors.New("the url names no host: it is like https://HOST:PORT/PATH")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// About is the request's own URL with another one in its place, which may be relative to
// it, as those are that services answer with. same reports whether that is of the same
// origin: else no credentials go there, unless the user has written that it is right.
func (r Request) About(url string) (address string, same bool, err error) {
	base, err := parse(r.URL)
	if err != nil {
		return "", false, err
	}
	to, err := base.Parse(url)
	if err == nil && url != "" {
		to, err = parse(to.String())
	}
	switch {
	case err != nil || url == "":
		return "", false, errors.New("it is no address of http:// or https://")
	case origin(to) != origin(base):
		return to.String(), false, nil
	case to.User == nil:
		to.User = base.User
	}
	return to.String(), true, nil
}

// Names reports whether text, the begin of a URL, names the host of another one, whatever
// follows.
func Names(text, url string) bool {
	u, err := parse(text)
	to, bad := parse(url)
	return err == nil && bad == nil && u.Path != "" && origin(u) == origin(to)
}

// ours are the headers that say how the body is sent, which the client writes.
var ours = map[string]bool{"content-length": true, "transfer-encoding": true, "trailer": true}

// check reports what cannot be sent. A value is never in the error.
func (r Request) check() (*url.URL, error) {
	u, err := parse(r.URL)
	if err != nil {
		return nil, err
	}
	if err := CheckMethod(r.method()); err != nil {
		return nil, err
	}
	for _, h := range r.Headers {
		if err := h.Check(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// CheckMethod reports a method that cannot be sent.
func CheckMethod(method string) error {
	if method == "" || notToken(method) >= 0 {
		return errors.New("the method is none: it is one word, like POST")
	}
	return nil
}

// Check reports a header that cannot be sent. Its value is never in the error.
func (h Header) Check() error {
	n := notToken(h.Name)
	switch {
	case h.Name == "":
		return errors.New("a header has no name")
	case n >= 0:
		return fmt.Errorf("%q is no name of a header: it has letters, digits and - alone", h.Name[:n]+"…")
	case strings.IndexFunc(h.Value, control) >= 0:
		return fmt.Errorf("the value of the header %s has a line break or another control character", h.Name)
	case ours[strings.ToLower(h.Name)]:
		return fmt.Errorf("the header %s is written by muster itself: leave it out", h.Name)
	case strings.EqualFold(h.Name, "Host") && strings.IndexFunc(h.Value, notHost) >= 0:
		return errors.New("the value of the header Host is no name of a host")
	}
	return nil
}

// notToken returns where s ceases to be a token (RFC 9110, section 5.6.2), or -1.
func notToken(s string) int {
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func notHost(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@"<>`, r) }
