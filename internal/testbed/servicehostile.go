package testbed

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hostile are the modes in which a Service does not do its work. One more, lost,
// takes the job and closes the connection without an answer.
var hostile = map[string]func(s *Service, w http.ResponseWriter, r *http.Request){
	"slow":     slow,
	"drip":     drip,
	"endless":  endless,
	"html":     html,
	"redirect": redirect,
	"loop":     loop,
	"bomb":     bomb,
	"error":    broken,
	"hangup":   func(*Service, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
}

// ServiceModes lists the modes.
func ServiceModes() []string { return append(slices.Sorted(maps.Keys(hostile)), "lost") }

// SetMode has the service answer in a mode from now on, or so many times if that
// is not 0: slow, or POST:slow for one method only; ok is none.
func (s *Service) SetMode(mode string, times int) error {
	_, name, found := strings.Cut(mode, ":")
	if !found {
		name = mode
	}
	if name != "ok" && !slices.Contains(ServiceModes(), name) {
		return fmt.Errorf("there is no mode %s; there are ok, %s", name, strings.Join(ServiceModes(), ", "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode, s.times = mode, times
	if times == 0 {
		s.times = -1
	}
	return nil
}

// modeOf is the mode in which a request is to be answered, and its path without
// one.
func (s *Service) modeOf(r *http.Request) (mode, path string) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if slices.Contains(ServiceModes(), first) {
		return first, "/" + rest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	method, name, found := strings.Cut(s.mode, ":")
	if !found {
		method, name = r.Method, s.mode
	}
	if method != r.Method || s.times == 0 {
		return "ok", r.URL.Path
	}
	if s.times > 0 {
		s.times--
	}
	return name, r.URL.Path
}

// slow does not answer.
func slow(_ *Service, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// drip answers at once and never comes to the end: a byte each tenth of a second.
func drip(_ *Service, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

var filler = bytes.Repeat([]byte("a"), 1<<20)

// endless sends a string that does not end.
func endless(_ *Service, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, err := io.WriteString(w, `{"id": "`)
	for err == nil {
		_, err = w.Write(filler)
	}
}

// html is what a portal says before one has signed in.
func html(_ *Service, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n")
}

// redirect sends the caller, its body and what it lets go of its headers, to
// another origin on the same host, which answers as if it were the service.
func redirect(s *Service, w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, s.otherURL+r.URL.Path, http.StatusTemporaryRedirect)
}

func elsewhere(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusCreated, `{"id": "job-1", "state": "QUEUED"}`)
}

// loop sends the caller on, each time to another address of its own.
func loop(_ *Service, w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	http.Redirect(w, r, fmt.Sprintf("%s?n=%d", r.URL.Path, n+1), http.StatusTemporaryRedirect)
}

// bomb sends 16 MiB that are 16 GiB, in parts that gzip takes for one.
func bomb(_ *Service, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	part := func(pieces ...[]byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for _, p := range pieces {
			z.Write(p)
		}
		z.Close()
		return b.Bytes()
	}
	_, err := w.Write(part([]byte(`{"id": "`)))
	more := part(slices.Repeat([][]byte{filler}, 16)...)
	for i := 0; i < 1024 && err == nil; i++ {
		_, err = w.Write(more)
	}
}

// broken answers 500 with a message that is long, repeats what it was sent, as
// some do, and would do things to a terminal.
func broken(_ *Service, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, "internal error\n\x1b[2J\x1b]0;title\a%s %s\nAuthorization: %s\n\n%s\n", r.Method, r.RequestURI, r.Header.Get("Authorization"), body)
	for i := range 2000 {
		fmt.Fprintf(w, "\tat example.Service.frame%d(Service.java:%d)\n", i, i)
	}
}
