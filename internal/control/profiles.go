package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/internal/launch"
)

func (s *Server) profile(r *http.Request) (*host.Profile, error) {
	name := r.PathValue("profile")
	if p := s.Host.Profile(name); p != nil {
		return p, nil
	}
	return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no profile %q here", name), "`muster up -p " + name + " -n N` makes one; `muster status` shows those that are there"}
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
	// A person may take their time to answer.
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
