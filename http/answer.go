package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"muster/internal/terminal"
)

// MaxAnswer is how many bytes of an answer's body are kept, unless its request says
// more or less.
const MaxAnswer = 1 << 20

// Answer is what a service has answered.
type Answer struct {
	Status    int
	Headers   map[string][]string // by their canonical names
	Body      string              // MaxAnswer bytes at most, or what the request says
	Truncated bool                // there was more

	secrets []string // of its request
}

// OK reports whether the service has done what was asked: a status of 200 to 299.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// JSON decodes the body, with numbers as json.Number.
func (a Answer) JSON() (any, error) {
	var v any
	if err := a.decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// decode decodes the body into v.
func (a Answer) decode(v any) error {
	if a.Truncated {
		return fmt.Errorf("the answer has more than %d bytes, and the rest of it was not read", len(a.Body))
	}
	d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(a.Body, "\ufeff"))) // some begin with a byte order mark
	d.UseNumber()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("there is more after its end")
	}
	return fmt.Errorf("the answer is no JSON that is expected here (%s): %s", oneLine(err.Error()), a.Text())
}

// Text is the status and the begin of the body on one line, for errors. No secret of
// the request is in it.
func (a Answer) Text() string {
	if body := short(a.hide(a.Body)); body != "" {
		return status(a.Status) + ": " + body
	}
	return status(a.Status)
}

// short is the begin of s on one line, safe to print.
func short(s string) string {
	const most = 500
	line := oneLine(s[:min(len(s), 4*most)])
	if len(line) <= most {
		return line
	}
	n := most
	for !utf8.RuneStart(line[n]) {
		n--
	}
	return line[:n] + "…"
}

// status is the number of a status with its name.
func status(n int) string {
	return strings.TrimSpace(strconv.Itoa(n) + " " + http.StatusText(n))
}

// oneLine is s without line breaks and safe to print.
func oneLine(s string) string { return terminal.Safe(strings.Join(strings.Fields(s), " ")) }

// HTML reports whether the answer is a page for people.
func (a Answer) HTML() bool {
	kind := http.Header(a.Headers).Get("Content-Type")
	return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(strings.TrimSpace(a.Body), "<")
}

// busy reports whether the service has refused for now, and after which time it is to
// be asked again; 0 if it does not say.
func (a Answer) busy() (after time.Duration, is bool) {
	text := http.Header(a.Headers).Get("Retry-After")
	switch {
	case a.Status != http.StatusTooManyRequests && (a.Status != http.StatusServiceUnavailable || text == ""):
		return 0, false
	case text == "":
		return 0, true
	}
	const most = 365 * 24 * time.Hour
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		after = time.Duration(min(max(seconds, 0), int64(most/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		after = min(max(time.Until(at), 0), most)
	}
	return after, true
}
