package testbed

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Request is one that a server here has got, before it judged it.
type Request struct {
	Method string
	Target string // path and query as they were sent
	Header http.Header
	Body   []byte
}

// mute are headers that say more about the client's HTTP library than about what
// it was told to send.
var mute = []string{"Accept-Encoding", "Connection", "Content-Length", "User-Agent"}

// text is the request as HTTP would have it, its headers sorted: those of the
// names, or, without any, all but the mute ones.
func (r Request) text(names []string) string {
	for i, n := range names {
		names[i] = http.CanonicalHeaderKey(n)
	}
	s := r.Method + " " + r.Target + "\n"
	for _, n := range slices.Sorted(maps.Keys(r.Header)) {
		if len(names) > 0 && !slices.Contains(names, n) || len(names) == 0 && slices.Contains(mute, n) {
			continue
		}
		for _, v := range r.Header[n] {
			s += n + ": " + v + "\n"
		}
	}
	return s + "\n" + string(r.Body)
}

// requests are what a server has got.
type requests struct {
	mu   sync.Mutex // guards list
	list []Request
}

// Requests returns what has come until now.
func (rs *requests) Requests() []Request {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.Clone(rs.list)
}

// RequestsText writes what has come until now, for golden files: of each request
// the first line, the headers, sorted, an empty line and the body, and an empty
// line between two. With names, only these headers are there.
func (rs *requests) RequestsText(names ...string) string {
	var all []string
	for _, r := range rs.Requests() {
		all = append(all, strings.TrimRight(r.text(slices.Clone(names)), "\n")+"\n")
	}
	return strings.Join(all, "\n")
}

// maxBody bounds what is read of a request.
const maxBody = 32 << 20

// record keeps each request and hands it on.
func (rs *requests) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			refuse(w, http.StatusBadRequest, "read the body: %v", err)
			return
		}
		rs.mu.Lock()
		rs.list = append(rs.list, Request{r.Method, r.RequestURI, r.Header.Clone(), body})
		rs.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// answer sends JSON.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body+"\n")
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, fmt.Sprintf(`{"error": %s}`, jsonQuote(fmt.Sprintf(format, args...))))
}

// serve serves on a free port of the loopback, with TLS if there is a
// configuration, and returns the address and what ends it and all its requests.
func serve(h http.Handler, conf *tls.Config) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	var (
		mu      sync.Mutex // guards closed, and that nothing is added once it is true
		closed  bool
		running sync.WaitGroup
	)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if closed {
				mu.Unlock()
				return
			}
			running.Add(1)
			mu.Unlock()
			defer running.Done()
			h.ServeHTTP(w, r)
		}),
		// Clients that go away, or do not like the certificate, are what it is for.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		server.Serve(l)
	}()
	return addr, func() {
		mu.Lock()
		closed = true
		mu.Unlock()
		server.Close()
		<-over
		running.Wait()
	}, nil
}
