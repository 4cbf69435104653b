package testbed

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// ServiceOptions say what a Service is like.
type ServiceOptions struct {
	Dir  string   // absolute; jobs' output is in job-N.out there, the CA in ca.pem
	Env  []string // of jobs; PATH is where programs are looked for
	Work string   // where jobs start
	// TLS has it speak HTTPS, with a certificate of a CA of its own; WrongName, with
	// one that is for another host.
	TLS, WrongName bool
	Rate           int           // what it answers in a second; what is more is 429. 0 is all
	Queue          time.Duration // how long a job is queued before it starts
	NoKeys         bool          // it does not know Idempotency-Key, as most do not
}

// Service is one that starts commands over HTTP, made up as anybody's own might be:
//
//	POST /jobs {"command": "...", "environment": {"NAME": "..."}}, the latter if it is there
//	                                201 {"id": "job-1", "state": "QUEUED"}
//	GET /jobs/job-1                 200 {"id": "job-1", "state": "RUNNING"}, or DONE, FAILED
//	DELETE /jobs/job-1              204, and the job is ended and unknown
//
// all with Authorization: Bearer Token. It runs commands with sh on this machine.
// Mode, or a path that begins with the name of a mode, has it answer as a service
// does that is broken, badly configured or hostile.
type Service struct {
	requests
	URL, Token string
	CA         string // the file with its CA; "" without TLS
	o          ServiceOptions
	launcher   launcher
	other      *requests // of the origin that mode redirect sends callers to
	otherURL   string
	stop       []func()

	mu       sync.Mutex // guards what follows
	jobs     map[string]*launched
	keys     map[string]*keyed
	commands map[string]bool
	repeated int
	doubled  int
	mode     string // or METHOD:MODE
	times    int    // that it is still in force; -1 is for ever
	answered []time.Time
	timers   []*time.Timer
}

// keyed is what an Idempotency-Key stands for.
type keyed struct {
	body string
	job  *launched
}

// StartService starts one. Stop has to follow.
func StartService(o ServiceOptions) (_ *Service, err error) {
	s := &Service{Token: rand.Text(), o: o, launcher: launcher{dir: o.Dir, env: o.Env, work: o.Work}, other: &requests{},
		jobs: map[string]*launched{}, keys: map[string]*keyed{}, commands: map[string]bool{}}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	var conf *tls.Config
	scheme := "http://"
	if o.TLS || o.WrongName {
		scheme, s.CA = "https://", o.Dir+"/ca.pem"
		if conf, err = serviceTLS(s.CA, o.WrongName); err != nil {
			return nil, err
		}
	}
	for _, origin := range []struct {
		url     *string
		handler http.Handler
	}{{&s.otherURL, s.other.record(http.HandlerFunc(elsewhere))}, {&s.URL, s.record(http.HandlerFunc(s.handle))}} {
		addr, stop, err := serve(origin.handler, conf)
		if err != nil {
			return nil, err
		}
		s.stop = append(s.stop, stop)
		*origin.url = scheme + addr
	}
	return s, nil
}

// Client returns one that trusts the service's CA, and follows no redirection.
func (s *Service) Client() (*http.Client, error) {
	t := &http.Transport{}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + s.CA)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// Stop ends it and kills its jobs.
func (s *Service) Stop() {
	s.mu.Lock()
	for _, t := range s.timers {
		t.Stop()
	}
	s.mu.Unlock()
	for _, stop := range s.stop {
		stop()
	}
	s.launcher.stop()
}

// Started is how many jobs have been started, ever.
func (s *Service) Started() int { return s.launcher.count() }

// Repeated is how many requests were answered with a job that was there, for their
// Idempotency-Key's sake.
func (s *Service) Repeated() int { s.mu.Lock(); defer s.mu.Unlock(); return s.repeated }

// Doubled is how many jobs were taken though an earlier one has the same command,
// to the byte.
func (s *Service) Doubled() int { s.mu.Lock(); defer s.mu.Unlock(); return s.doubled }

// Elsewhere are the requests that mode redirect has sent to another origin.
func (s *Service) Elsewhere() []Request { return s.other.Requests() }

// ElsewhereText writes them as RequestsText does.
func (s *Service) ElsewhereText(names ...string) string { return s.other.RequestsText(names...) }

func (s *Service) handle(w http.ResponseWriter, r *http.Request) {
	mode, path := s.modeOf(r)
	if answer := hostile[mode]; answer != nil {
		answer(s, w, r)
		return
	}
	if s.limited() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "more than %d requests a second", s.o.Rate)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.Token {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "this needs the service's token")
		return
	}
	id, one := strings.CutPrefix(path, "/jobs/")
	switch {
	case path == "/jobs" && r.Method == "POST":
		s.post(w, r, mode == "lost")
	case path == "/jobs" || one && r.Method != "GET" && r.Method != "DELETE":
		refuse(w, http.StatusMethodNotAllowed, "%s is not for %s", r.Method, path)
	case one:
		s.one(w, r, id)
	default:
		refuse(w, http.StatusNotFound, "there is no %s", path)
	}
}

// limited reports whether more has come in the last second than is answered.
func (s *Service) limited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.answered = slices.DeleteFunc(s.answered, func(t time.Time) bool { return now.Sub(t) > time.Second })
	if s.o.Rate > 0 && len(s.answered) >= s.o.Rate {
		return true
	}
	s.answered = append(s.answered, now)
	return false
}

// post takes a job. If its answer is to be lost, the connection ends instead.
func (s *Service) post(w http.ResponseWriter, r *http.Request, lost bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	if t := r.Header.Get("Content-Type"); t != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "Content-Type is %q and has to be application/json", t)
		return
	}
	f, err := jsonObject(body, "the body", "command", "environment?")
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	command, err := jsonString(f["command"], "command")
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	var env map[string]string
	if f["environment"] != nil {
		if err := json.Unmarshal(f["environment"], &env); err != nil {
			refuse(w, http.StatusBadRequest, "environment: %v", err)
			return
		}
	}
	j, again := s.accept(r.Header.Get("Idempotency-Key"), string(body), command, env)
	if j == nil {
		refuse(w, http.StatusUnprocessableEntity, "this Idempotency-Key came with another body before")
		return
	}
	if lost {
		panic(http.ErrAbortHandler) // closes the connection, and is not logged
	}
	state := "QUEUED"
	if again {
		state = j.status()
	}
	answer(w, http.StatusCreated, fmt.Sprintf(`{"id": %s, "state": %s}`, jsonQuote(j.id), jsonQuote(state)))
}

// accept starts a job, unless its key has started one before; nil if that was
// another.
func (s *Service) accept(key, body, command string, env map[string]string) (j *launched, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[key]; k != nil && key != "" && !s.o.NoKeys {
		if k.body != body {
			return nil, false
		}
		s.repeated++
		return k.job, true
	}
	j = s.launcher.next("/bin/sh", "-c", command)
	for name, value := range env {
		j.env = append(j.env, name+"="+value)
	}
	s.jobs[j.id], s.keys[key] = j, &keyed{body, j}
	if s.commands[command] {
		s.doubled++
	}
	s.commands[command] = true
	if s.o.Queue > 0 {
		s.timers = append(s.timers, time.AfterFunc(s.o.Queue, j.start))
	} else {
		j.start()
	}
	return j, false
}

// one is about a job that there is.
func (s *Service) one(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	j := s.jobs[id]
	if r.Method == "DELETE" {
		delete(s.jobs, id)
	}
	s.mu.Unlock()
	switch {
	case j == nil:
		refuse(w, http.StatusNotFound, "there is no job %s", id)
	case r.Method == "DELETE":
		j.cancel()
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, http.StatusOK, fmt.Sprintf(`{"id": %s, "state": %s}`, jsonQuote(id), jsonQuote(j.status())))
	}
}
