package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
)

// Server answers for one host.
type Server struct {
	Options
	socket net.Listener
	http   *http.Server
	read   readings

	mu sync.Mutex // held while profiles come and go, one at a time

	kindMu sync.Mutex // guards Kind
}

// Options are what a Server serves.
type Options struct {
	Host    *host.Host
	Name    string
	Kind    string // up, run or ephemeral
	Version string
	Log     string // the file into which the dispatcher writes what it says; empty for none
	// Shutdown ends the dispatcher and returns when it has ended, before its
	// last answers are given.
	Shutdown func(ctx context.Context) error
}

// NewServer answers on l until Close.
func NewServer(l net.Listener, opt Options) *Server {
	s := NewWaiting(l, opt)
	s.Serve()
	return s
}

// NewWaiting returns a server that answers from Serve on. Who asks before that waits.
func NewWaiting(l net.Listener, opt Options) *Server {
	s := &Server{Options: opt, socket: l}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	return s
}

// Serve begins to answer.
func (s *Server) Serve() {
	go s.http.Serve(limitClients(s.socket, clientsAllowed())) // it ends with an error when it is closed, or the listener is
}

// Limits on what a client may send, in bytes.
const (
	maxBody = 64 << 20
	maxLine = 64 << 20
)

// Close lets calls that are being answered end, until ctx is done.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			answer, err := f(w, r)
			if err != nil {
				writeError(w, err)
			} else if answer != nil {
				writeJSON(w, http.StatusOK, answer)
			}
		})
	}
	handle("GET /v1/status", s.status)
	handle("GET /v1/info", s.info)
	handle("POST /v1/profiles", s.up)
	handle("DELETE /v1/profiles/{profile}", s.down)
	handle("POST /v1/shutdown", s.shutdown)
	handle("POST /v1/profiles/{profile}/names", s.names)
	handle("POST /v1/profiles/{profile}/launch", s.launch)
	handle("POST /v1/profiles/{profile}/retire", s.retire)
	handle("POST /v1/profiles/{profile}/join", s.join)
	handle("GET /v1/joins", func(http.ResponseWriter, *http.Request) (any, error) { return s.Host.Joins(), nil })
	handle("DELETE /v1/joins/{id}", s.revoke)
	handle("POST /v1/profiles/{profile}/submit", s.submit)
	handle("POST /v1/profiles/{profile}/everywhere", s.everywhere)
	handle("GET /v1/profiles/{profile}/shares", s.listShares)
	handle("DELETE /v1/profiles/{profile}/shares/{name}", s.removeShares)
	handle("POST /v1/wait", s.wait)
	handle("GET /v1/futures/{id}", s.future)
	handle("GET /v1/futures/{id}/results", s.results)
	handle("GET /v1/futures/{id}/results/{index}/{stream}", s.stream)
	handle("POST /v1/futures/{id}/cancel", s.cancel)
	handle("POST /v1/futures/{id}/finish", s.finish)
	handle("DELETE /v1/futures/{id}", s.forget)
	handle("/", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no call %s %s", r.Method, r.URL.Path),
			fmt.Sprintf("this dispatcher is muster %s, which speaks version %d of the interface", s.Version, APIVersion)}
	})
	// These bodies are read as fast as what is in them is taken, however long they are.
	long := func(pattern string, f func(w http.ResponseWriter, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			control.EnableFullDuplex() // a refusal does not wait for the rest
			if answer, err := f(w, r); err != nil {
				writeError(w, err)
				control.Flush()
				discard(control, r.Body)
			} else {
				writeJSON(w, http.StatusOK, answer)
			}
		})
	}
	long("POST /v1/profiles/{profile}/map", s.mapping)
	long("PUT /v1/profiles/{profile}/shares/{name}", s.putShare)
	return s.ofThisRun(mux)
}

// lingerFor is how long a client may go on sending what was refused.
const lingerFor = 5 * time.Second

// discard reads what still comes of a body that was refused, until the client has read
// that and hangs up. If the connection were closed before, sending would fail, and the
// client might say so in place of the refusal.
func discard(control *http.ResponseController, body io.Reader) {
	control.SetReadDeadline(time.Now().Add(lingerFor))
	io.Copy(io.Discard, body)
}

// headerRun is the run whose dispatcher a caller means.
const headerRun = "Muster-Run"

// ofThisRun refuses calls that are meant for the dispatcher of another run.
func (s *Server) ofThisRun(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if run := r.Header.Get(headerRun); run != "" && run != s.Host.Run.ID {
			writeError(w, &Error{http.StatusGone, "closed", fmt.Sprintf("the dispatcher of run %s has ended, and another is here, of run %s", run, s.Host.Run.ID), "connect again"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(status)
	text.WriteTo(w) // the client may be gone; that is its business
}

func writeError(w http.ResponseWriter, err error) {
	var e *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, dispatcher.ErrFull):
		e = &Error{http.StatusTooManyRequests, "full", err.Error(), "try again, or submit without try, which waits"}
	case errors.Is(err, dispatcher.ErrClosed):
		e = &Error{http.StatusGone, "closed", err.Error(), ""}
	case errors.Is(err, dispatcher.ErrExists):
		e = &Error{http.StatusConflict, "exists", err.Error(), ""}
	case errors.As(err, &tooLarge):
		e = &Error{http.StatusRequestEntityTooLarge, "bad", fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit), ""}
	default:
		e = &Error{http.StatusInternalServerError, "failed", err.Error(), ""}
	}
	writeJSON(w, e.Status, e)
}

func bad(format string, args ...any) error {
	return &Error{http.StatusBadRequest, "bad", fmt.Sprintf(format, args...), ""}
}

func read(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil && err != io.EOF {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return bad("the body is not what this call takes: %v", err)
	}
	return nil
}

func (s *Server) kind() string {
	s.kindMu.Lock()
	defer s.kindMu.Unlock()
	return s.Kind
}
