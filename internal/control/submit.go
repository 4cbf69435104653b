package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/rng"
	"muster/task"
)

// SubmitRequest is the body of a submission.
type SubmitRequest struct {
	Task Task `json:"task"`
	Try  bool `json:"try,omitempty"` // answer with 429 instead of waiting for room
	// Seed is of a random stream for this task, in the place of one of the profile's.
	Seed rng.Streams `json:"seed,omitzero"`
}

// SubmitAnswer is the id of what was submitted.
type SubmitAnswer struct {
	ID    dispatcher.ID `json:"id"`
	Total int           `json:"total"`
	Sync  bool          `json:"sync,omitempty"` // the caller runs it, and says what came of it
	// Streams are the random streams of a sync profile's tasks, if they follow from a seed.
	Streams []rng.Stream `json:"streams,omitempty"`
	// Shares are what a sync profile's tasks can read in memory.
	Shares []task.Share `json:"shares,omitempty"`
}

// Stream returns the random stream of a sync profile's task, by its index from 1; that
// of one that has none is random.
func (a SubmitAnswer) Stream(i int) rng.Stream {
	if i <= len(a.Streams) && a.Streams[i-1].Valid() {
		return a.Streams[i-1]
	}
	return rng.Random()
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
	hold, err := p.Shares.Hold(q.Task.Shares)
	if err != nil {
		return nil, shareError(err)
	}
	spec.Shares = hold.List()
	opt := dispatcher.FutureOptions{Timeout: spec.Timeout, Try: q.Try, Streams: q.Seed}
	spec.Timeout = 0
	f, err := p.Pool.Submit(r.Context(), spec, opt)
	if err != nil {
		hold.Release()
		return nil, err
	}
	hold.ReleaseAfter(f.Done())
	if p.Spec.Ephemeral {
		if _, err := p.StartLocal(1, nil, "--maxtasks", "1"); err != nil {
			s.Host.D.Abort(f) // the next worker is another task's
			return nil, err
		}
	}
	return submitted(p, f, 1, spec.Shares), nil
}

// submitted is the answer to a submission of n tasks, which can read shares.
func submitted(p *host.Profile, f *dispatcher.Future, n int, shares []task.Share) SubmitAnswer {
	a := SubmitAnswer{ID: f.ID(), Total: n, Sync: p.Spec.Sync}
	if p.Spec.Sync {
		a.Streams, a.Shares = f.Streams(), shares
	}
	return a
}

// mapping queues one task a line, each when there is room for it.
func (s *Server) mapping(_ http.ResponseWriter, r *http.Request) (any, error) {
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
	opt := dispatcher.FutureOptions{StopOnFailure: r.URL.Query().Get("stop") == "true"}
	if seed := r.URL.Query().Get("seed"); seed != "" {
		if opt.Streams, err = rng.ParseStreams(seed); err != nil {
			return nil, bad("%v", err)
		}
	}
	f, err := p.Pool.NewFuture(dispatcher.KindMap, opt)
	if err != nil {
		return nil, err
	}
	n := 0
	held := &holds{of: p.Shares}
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
		if spec.Shares, err = held.list(t.Shares); err != nil {
			return shareError(fmt.Errorf("task %d: %w", n, err))
		}
		return f.Add(r.Context(), spec)
	})
	if err != nil {
		s.Host.D.Abort(f)
		held.release()
		return nil, err
	}
	f.Seal()
	held.releaseAfter(f.Done())
	return submitted(p, f, n, held.all()), nil
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
	if len(t.Shares) > 0 {
		return nil, bad("an everywhere needs no shares, since it runs on workers that join later too: it finds those that can be read in its environment")
	}
	spec, err := t.Spec()
	if err != nil {
		return nil, bad("%v", err)
	}
	if p.Spec.Ephemeral {
		return nil, &Error{http.StatusConflict, "bad", "an everywhere needs workers, and there are none", "`muster up -n N` starts some"}
	}
	spec.Shares = p.Shares.Current() // it needs none: it runs on workers that join later, too
	f, err := p.Pool.Everywhere(spec, q.Min)
	if err != nil {
		return nil, err
	}
	return SubmitAnswer{ID: f.ID(), Total: f.Status().Total}, nil
}
