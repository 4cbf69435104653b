package control

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/internal/launch"
	"muster/internal/spool"
	"muster/task"
)

// Server answers for one host.
type Server struct {
	Options
	socket string
	http   *http.Server

	mu sync.Mutex // held while profiles come and go, one at a time

	kindMu sync.Mutex // guards Kind
}

// Options are what a Server serves.
type Options struct {
	Host    *host.Host
	Name    string
	Kind    string // up, run or ephemeral
	Version string
	// Shutdown ends the dispatcher and returns when it has ended, before its
	// last answers are given.
	Shutdown func(ctx context.Context) error
}

// NewServer answers on l until Close.
func NewServer(l net.Listener, opt Options) *Server {
	s := &Server{Options: opt, socket: l.Addr().String()}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	go s.http.Serve(l) // it ends with an error when it is closed, or l is
	return s
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
	handle("POST /v1/profiles/{profile}/launch", s.launch)
	handle("POST /v1/profiles/{profile}/retire", s.retire)
	handle("POST /v1/profiles/{profile}/join", s.join)
	handle("GET /v1/joins", func(http.ResponseWriter, *http.Request) (any, error) { return s.Host.Joins(), nil })
	handle("DELETE /v1/joins/{id}", s.revoke)
	handle("POST /v1/profiles/{profile}/submit", s.submit)
	handle("POST /v1/profiles/{profile}/everywhere", s.everywhere)
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
	// A map's body is read as fast as its tasks are queued, however long it is.
	mux.HandleFunc("POST /v1/profiles/{profile}/map", func(w http.ResponseWriter, r *http.Request) {
		if answer, err := s.mapping(r); err != nil {
			writeError(w, err)
		} else {
			writeJSON(w, http.StatusOK, answer)
		}
	})
	return s.ofThisRun(mux)
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
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // the client may be gone; that is its business
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

func (s *Server) profile(r *http.Request) (*host.Profile, error) {
	name := r.PathValue("profile")
	if p := s.Host.Profile(name); p != nil {
		return p, nil
	}
	return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no profile %q here", name), "`muster up -p " + name + " -n N` makes one; `muster status` shows those that are there"}
}

func (s *Server) find(r *http.Request) (*dispatcher.Future, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, bad("%q is no id: it is a number", r.PathValue("id"))
	}
	return s.byID(dispatcher.ID(id))
}

func (s *Server) byID(id dispatcher.ID) (*dispatcher.Future, error) {
	if f := s.Host.D.Future(id); f != nil {
		return f, nil
	}
	return nil, forgotten(id)
}

func forgotten(id dispatcher.ID) error {
	return &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no future %d here: it was never submitted, or it has been collected", id), ""}
}

func (s *Server) kind() string {
	s.kindMu.Lock()
	defer s.kindMu.Unlock()
	return s.Kind
}

func (s *Server) now() Status {
	st := Status{API: APIVersion, Version: s.Version, Name: s.Name, Kind: s.kind(), Socket: s.socket, Run: s.Host.Run.ID, Pid: os.Getpid(),
		Started: s.Host.Started(), URLs: s.Host.URLs(), Profiles: []ProfileStatus{}, Futures: []dispatcher.FutureStatus{}, Jobs: append([]string{}, s.Host.Fleet().Jobs()...)}
	for _, p := range s.Host.D.Pools() {
		ps := ProfileStatus{PoolStatus: p.Status()}
		if hp := s.Host.Profile(p.Name()); hp != nil {
			ps.Sync = hp.Spec.Sync
		}
		st.Profiles = append(st.Profiles, ps)
	}
	for _, f := range s.Host.D.Futures() {
		if len(st.Futures) == maxListed {
			break
		}
		st.Futures = append(st.Futures, f.Status())
	}
	return st
}

// maxListed is how many futures a status lists.
const maxListed = 1000

// watchEvery is the least time from one status of a stream to the next.
const watchEvery = 250 * time.Millisecond

func (s *Server) status(w http.ResponseWriter, r *http.Request) (any, error) {
	if r.URL.Query().Get("watch") != "true" {
		return s.now(), nil
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for {
		// Whatever changes after this is in the next status.
		changed := s.changed()
		if enc.Encode(s.now()) != nil || http.NewResponseController(w).Flush() != nil {
			return nil, nil
		}
		pause := time.After(watchEvery)
		select {
		case <-changed:
		case <-time.After(time.Minute):
		case <-r.Context().Done():
			return nil, nil
		}
		select {
		case <-pause:
		case <-r.Context().Done():
			return nil, nil
		}
	}
}

// changed returns a channel that is closed when any profile changes.
func (s *Server) changed() <-chan struct{} {
	any := make(chan struct{})
	var once sync.Once
	for _, p := range s.Host.D.Pools() {
		_, _, changed := p.Workers()
		go func() {
			select {
			case <-changed:
				once.Do(func() { close(any) })
			case <-any:
			case <-time.After(time.Minute):
			}
		}()
	}
	return any
}

func (s *Server) info(_ http.ResponseWriter, r *http.Request) (any, error) {
	name := r.URL.Query().Get("profile")
	p := s.Host.D.Pool(name)
	if p == nil {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no profile %q here", name), ""}
	}
	return p.Info(), nil
}

// UpRequest is the body of POST /v1/profiles.
type UpRequest struct {
	Profiles []host.Spec `json:"profiles"`
	Replace  bool        `json:"replace"`
	// Asker is a socket at which the caller answers what a login asks.
	Asker string `json:"asker,omitempty"`
}

// UpAnswer says what became of each profile: created, same or replaced.
type UpAnswer struct {
	Profiles map[string]string `json:"profiles"`
}

func (s *Server) up(_ http.ResponseWriter, r *http.Request) (any, error) {
	var q UpRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return s.Up(r.Context(), q)
}

// Up adds profiles, or finds that they are there.
func (s *Server) Up(ctx context.Context, q UpRequest) (*UpAnswer, error) {
	// A person may take his time to answer.
	for _, spec := range q.Profiles {
		if there := s.Host.Profile(spec.Name); there == nil || q.Replace {
			leave, err := s.Host.LogIn(ctx, spec.Plans, q.Asker)
			if err != nil {
				return nil, err
			}
			defer leave()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &UpAnswer{Profiles: map[string]string{}}
	for _, spec := range q.Profiles {
		if s.kind() == "run" {
			return nil, &Error{http.StatusConflict, "bad", "a run has the one profile that it was started with", ""}
		}
		if !host.ValidName(spec.Name) {
			return nil, bad("%q is no name of a profile", spec.Name)
		}
		there := s.Host.Profile(spec.Name)
		switch {
		case there == nil:
			a.Profiles[spec.Name] = "created"
		case there.Spec.Same(&spec):
			a.Profiles[spec.Name] = "same"
			continue
		case q.Replace || there.Spec.Ephemeral && there.Pool.Info().Executing+there.Pool.Info().Awaiting == 0:
			a.Profiles[spec.Name] = "replaced"
			if err := s.Host.Down(ctx, there); err != nil {
				return nil, err
			}
		default:
			return nil, &Error{http.StatusConflict, "exists", fmt.Sprintf("profile %s is up with other values", spec.Name),
				"--replace resets it: what is unresolved resolves with 19, Connection reset; `muster launch` adds workers"}
		}
		if _, err := s.Host.Up(ctx, spec, q.Asker); errors.Is(err, dispatcher.ErrClosed) {
			return nil, &Error{http.StatusGone, "closed", "this dispatcher is ending", "try again in a moment"}
		} else if err != nil {
			return nil, err
		}
		if len(spec.Plans) > 0 {
			s.Host.Watch(nil)
		}
		if !spec.Ephemeral && s.kind() == "ephemeral" {
			s.kindMu.Lock()
			s.Kind = "up"
			s.kindMu.Unlock()
		}
	}
	return a, nil
}

func (s *Server) down(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	if s.kind() == "run" {
		return nil, &Error{http.StatusConflict, "bad", "a run ends by itself, or by Ctrl-C where it was started", ""}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return struct{}{}, s.Host.Down(context.WithoutCancel(r.Context()), p)
}

func (s *Server) shutdown(_ http.ResponseWriter, r *http.Request) (any, error) {
	if s.Shutdown == nil {
		return nil, &Error{http.StatusConflict, "bad", "a run ends by itself, or by Ctrl-C where it was started", ""}
	}
	return struct{}{}, s.Shutdown(context.WithoutCancel(r.Context()))
}

// LaunchRequest is the body of a launch: workers on this machine, or plans for
// schedulers.
type LaunchRequest struct {
	Workers int            `json:"workers"`
	Plans   []*launch.Plan `json:"plans"`
	// Asker is a socket at which the caller answers what a login asks.
	Asker string `json:"asker,omitempty"`
}

func (s *Server) launch(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	var q LaunchRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	if p.Spec.Sync {
		return nil, &Error{http.StatusConflict, "bad", fmt.Sprintf("profile %s runs its tasks in its callers, one after another: it has no workers", p.Spec.Name), "that is sync mode; take --sync away to have workers"}
	}
	// A caller that goes away takes a login back, and nothing that was submitted.
	leave, err := s.Host.LogIn(r.Context(), q.Plans, q.Asker)
	if err != nil {
		return nil, err
	}
	defer leave()
	done, err := p.Launch(context.WithoutCancel(r.Context()), q.Plans, q.Asker)
	if err != nil {
		return nil, err
	}
	if len(q.Plans) > 0 {
		s.Host.Watch(nil)
	}
	for range q.Workers {
		if _, err := p.StartLocal(max(p.Spec.Slots, 1), nil); err != nil {
			return nil, err
		}
		done.Workers++
	}
	return done, nil
}

// RetireAnswer says how many workers were told to leave.
type RetireAnswer struct {
	Told int `json:"told"`
}

func (s *Server) retire(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	var q struct {
		Workers int `json:"workers"`
	}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return RetireAnswer{p.Pool.Retire(q.Workers)}, nil
}

// JoinRequest asks for a join string.
type JoinRequest struct {
	Uses      int      `json:"uses"`
	Valid     Duration `json:"valid"`
	Elsewhere bool     `json:"elsewhere"` // for other machines too
	Loopback  bool     `json:"loopback"`  // for those who come in by a tunnel
}

// JoinAnswer is a join string, a secret, and what it admits.
type JoinAnswer struct {
	host.Join
	Text string `json:"join"`
}

func (s *Server) join(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	q := JoinRequest{Uses: 1}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	if q.Uses < 1 || q.Uses > 1_000_000 {
		return nil, bad("uses: %d workers; 1 to 1000000 are possible", q.Uses)
	}
	j, text, err := p.NewJoin(q.Uses, time.Duration(q.Valid), q.Elsewhere, q.Loopback)
	return JoinAnswer{j, text.Encode()}, err
}

func (s *Server) revoke(_ http.ResponseWriter, r *http.Request) (any, error) {
	if !s.Host.RevokeJoin(r.PathValue("id")) {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no join string %q here", r.PathValue("id")), "`muster join list` shows those that are"}
	}
	return struct{}{}, nil
}

// SubmitRequest is the body of a submission.
type SubmitRequest struct {
	Task Task `json:"task"`
	Try  bool `json:"try,omitempty"` // answer with 429 instead of waiting for room
}

// SubmitAnswer is the id of what was submitted.
type SubmitAnswer struct {
	ID    dispatcher.ID `json:"id"`
	Total int           `json:"total"`
	Sync  bool          `json:"sync,omitempty"` // the caller runs it, and says what came of it
}

func (s *Server) takesTasks(p *host.Profile) error {
	if s.kind() == "run" {
		return &Error{http.StatusConflict, "bad", "a run takes its own inputs only", "`muster up` starts a dispatcher that takes tasks"}
	}
	return nil
}

func (s *Server) submit(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	if err := s.takesTasks(p); err != nil {
		return nil, err
	}
	var q SubmitRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	spec, err := q.Task.Spec()
	if err != nil {
		return nil, bad("%v", err)
	}
	opt := dispatcher.FutureOptions{Timeout: spec.Timeout}
	spec.Timeout = 0
	f, err := p.Pool.Submit(r.Context(), spec, opt, q.Try)
	if err != nil {
		return nil, err
	}
	if p.Spec.Ephemeral {
		if _, err := p.StartLocal(1, nil, "--maxtasks", "1"); err != nil {
			s.Host.D.Forget(f)
			return nil, err
		}
	}
	return SubmitAnswer{f.ID(), 1, p.Spec.Sync}, nil
}

// mapping queues one task a line, each when there is room for it.
func (s *Server) mapping(r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	if err := s.takesTasks(p); err != nil {
		return nil, err
	}
	if p.Spec.Ephemeral {
		return nil, &Error{http.StatusConflict, "bad", "a map needs workers, and there are none", "`muster up -n N` starts some"}
	}
	f, err := p.Pool.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{StopOnFailure: r.URL.Query().Get("stop") == "true"})
	if err != nil {
		return nil, err
	}
	n := 0
	err = Lines(r.Body, func(line []byte) error {
		n++
		var t Task
		if err := json.Unmarshal(line, &t); err != nil {
			return bad("task %d: %v", n, err)
		}
		spec, err := t.Spec()
		if err != nil {
			return bad("task %d: %v", n, err)
		}
		return f.Add(r.Context(), spec)
	})
	if err != nil {
		// Nothing of a map that is not whole is to run.
		f.Cancel(task.Cancelled("the map was not submitted whole"))
		s.Host.D.Forget(f)
		return nil, err
	}
	f.Seal()
	return SubmitAnswer{f.ID(), n, p.Spec.Sync}, nil
}

// Lines calls f with each line of r that is not blank.
func Lines(r io.Reader, f func(line []byte) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	for sc.Scan() {
		if len(sc.Bytes()) == 0 {
			continue
		}
		if err := f(sc.Bytes()); err != nil {
			return err
		}
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return bad("a line is longer than %d bytes", maxLine)
	} else if err != nil {
		return err
	}
	return nil
}

// EverywhereRequest asks for a command, shell text, on every worker.
type EverywhereRequest struct {
	Command string `json:"command,omitempty"`
	Task    *Task  `json:"task,omitempty"` // or a function
	Dir     string `json:"dir,omitempty"`
	Env     Env    `json:"env,omitempty"`
	Min     int    `json:"min,omitempty"` // workers, at least
}

func (s *Server) everywhere(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	var q EverywhereRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	t := Task{Dir: q.Dir, Env: q.Env}
	if q.Command != "" {
		t.Argv = []string{q.Command}
	}
	if q.Task != nil {
		t = *q.Task
	}
	spec, err := t.Spec()
	if err != nil {
		return nil, bad("%v", err)
	}
	if p.Spec.Ephemeral {
		return nil, &Error{http.StatusConflict, "bad", "an everywhere needs workers, and there are none", "`muster up -n N` starts some"}
	}
	f, err := p.Pool.Everywhere(spec, q.Min)
	if err != nil {
		return nil, err
	}
	return SubmitAnswer{f.ID(), f.Status().Total, false}, nil
}

// WaitRequest waits for all of the futures, or for any.
type WaitRequest struct {
	IDs  []dispatcher.ID `json:"ids"`
	Any  bool            `json:"any,omitempty"`
	Poll bool            `json:"poll,omitempty"` // answer at once
}

// WaitAnswer says which of the futures are resolved. Index counts from 1; it is
// that of the first, 0 if none is.
type WaitAnswer struct {
	Resolved []bool `json:"resolved"`
	Index    int    `json:"index"`
}

func (s *Server) wait(_ http.ResponseWriter, r *http.Request) (any, error) {
	var q WaitRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	var list []*dispatcher.Future
	for _, id := range q.IDs {
		f, err := s.byID(id)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	a := WaitAnswer{Resolved: []bool{}}
	switch {
	case q.Poll:
	case q.Any:
		i, err := dispatcher.Race(r.Context(), list)
		if err != nil {
			return nil, err
		}
		a.Index = i + 1
	default:
		for _, f := range list {
			select {
			case <-f.Done():
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	for i, f := range list {
		resolved := f.Status().State == "resolved"
		a.Resolved = append(a.Resolved, resolved)
		if resolved && a.Index == 0 {
			a.Index = i + 1
		}
	}
	return a, nil
}

func (s *Server) future(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return f.Status(), nil
}

// results streams a future's results, in the order of their indices or in that
// in which they resolve, each when it is there; without wait it ends at the first
// that is not, and from is how many are left out before that. What the caller has
// not had is kept until the answer ends, even if somebody forgets the future
// meanwhile.
func (s *Server) results(w http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	order := dispatcher.ByIndex
	if r.URL.Query().Get("order") == "resolved" {
		order = dispatcher.AsResolved
	}
	from, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("from"), "0"))
	if err != nil || from < 0 {
		return nil, bad("from is how many results to leave out, not %q", r.URL.Query().Get("from"))
	}
	c := f.Results(order)
	defer c.Close()
	c.Skip(from)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Muster-Profile", f.Pool().Name())
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for {
		done, err := s.next(w, r, c)
		if errors.Is(err, dispatcher.ErrForgotten) {
			return nil, forgotten(f.ID())
		}
		if done == nil || err != nil {
			return nil, nil // there are no more, or the caller has gone
		}
		result, err := newResult(done)
		if err != nil {
			panic(http.ErrAbortHandler) // an answer that ended here would seem whole
		}
		if enc.Encode(result) != nil {
			return nil, nil
		}
	}
}

// next returns a cursor's next result. It sends what has been written before it
// waits; without wait it returns nil instead.
func (s *Server) next(w http.ResponseWriter, r *http.Request, c *dispatcher.Cursor) (*dispatcher.Done, error) {
	done, err := c.Poll()
	if done != nil || err != nil || r.URL.Query().Get("wait") == "false" {
		return done, err
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil, err
	}
	return c.Next(r.Context())
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(r.PathValue("index"))
	n := map[string]int{"stdout": spool.Stdout, "stderr": spool.Stderr}[r.PathValue("stream")]
	if err != nil || i < 1 || n == 0 {
		return nil, bad("ask for /results/INDEX/stdout or /results/INDEX/stderr; indices count from 1")
	}
	done, _, _ := f.Result(i - 1)
	if done == nil {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("future %d has no result %d yet", f.ID(), i), ""}
	}
	from, err := done.Output.Reader(n)
	if errors.Is(err, spool.ErrClosed) {
		return nil, forgotten(f.ID())
	} else if err != nil {
		return nil, err
	}
	defer from.Close()
	// A caller who gets less than this knows it.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(done.Output.Bytes(n), 10))
	io.Copy(w, from) // a client that is gone is its own business
	return nil, nil
}

// CancelAnswer says whether the future was found unresolved.
type CancelAnswer struct {
	Found bool `json:"found"`
}

func (s *Server) cancel(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return CancelAnswer{f.Cancel(task.Cancelled(""))}, nil
}

// FinishRequest is what the caller of a sync profile says of the task he ran.
type FinishRequest struct {
	Started time.Time   `json:"started"`
	Seconds float64     `json:"seconds"`
	Error   *ErrorValue `json:"error"`
	Stdout  []byte      `json:"stdout"` // base64
}

func (s *Server) finish(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	if p := s.Host.Profile(f.Pool().Name()); p == nil || !p.Spec.Sync {
		return nil, &Error{http.StatusConflict, "bad", "only tasks of a sync profile are run by their callers", ""}
	}
	var q FinishRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	out := s.Host.D.NewOutput(fmt.Sprintf("sync.%d", f.ID()))
	if err := out.Write(spool.Stdout, q.Stdout); err != nil && !spool.IsFull(err) {
		return nil, err
	}
	return struct{}{}, f.Finish(&dispatcher.Done{Output: out, Result: task.Result{Attempt: 1, Worker: "caller", Slot: 1, Started: q.Started,
		Elapsed: time.Duration(q.Seconds * float64(time.Second)), Err: q.Error.Value()}})
}

func (s *Server) forget(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := s.find(r)
	if err != nil {
		return nil, err
	}
	s.Host.D.Forget(f)
	if s.kind() == "ephemeral" && s.Shutdown != nil && len(s.Host.D.Futures()) == 0 {
		go s.Shutdown(context.Background())
	}
	return struct{}{}, nil
}
