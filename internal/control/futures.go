package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/rng"
	"muster/task"
)

func (s *Server) find(r *http.Request) (*dispatcher.Future, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, bad("%q is no id: it is a number", r.PathValue("id"))
	}
	return s.byID(dispatcher.ID(id))
}

// findRead is find, but finds a future too that was forgotten and is being read.
func (s *Server) findRead(r *http.Request) (*dispatcher.Future, error) {
	if id, err := strconv.ParseUint(r.PathValue("id"), 10, 64); err == nil {
		if f := s.read.find(dispatcher.ID(id)); f != nil {
			return f, nil
		}
	}
	return s.find(r)
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
// meanwhile. With hold, an answer with a result whose output is to be fetched ends
// when the caller hangs up.
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
	defer s.read.begin(f)()
	c.Skip(from)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Muster-Profile", f.Pool().Name())
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	held := false
	for {
		done, err := s.next(w, r, c)
		if errors.Is(err, dispatcher.ErrForgotten) {
			return nil, forgotten(f.ID())
		}
		if err == io.EOF {
			f.MarkCollected()
		}
		if err == io.EOF && held {
			hold(w, r)
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
		held = held || r.URL.Query().Get("hold") == "true" && (result.Stdout.isApart() || result.Stderr.isApart())
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
	f, err := s.findRead(r)
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

// FinishRequest is what the caller of a sync profile says of the task it ran.
type FinishRequest struct {
	Started time.Time   `json:"started"`
	Seconds float64     `json:"seconds"`
	Error   *ErrorValue `json:"error"`
	Stdout  []byte      `json:"stdout"` // base64
	Stream  rng.Stream  `json:"stream"` // that the caller gave it, if it had none
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
	err = f.Finish(&dispatcher.Done{Output: out, Result: task.Result{Attempt: 1, Worker: "caller", Slot: 1, Started: q.Started,
		Elapsed: time.Duration(q.Seconds * float64(time.Second)), Stream: q.Stream, Err: q.Error.Value()}})
	if err != nil {
		out.Close() // nobody has it
	}
	return struct{}{}, err
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
