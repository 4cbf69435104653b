package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/units"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &UpAnswer{Profiles: map[string]string{}}
	for _, spec := range q.Profiles {
		became, err := s.upOne(ctx, spec, q.Replace)
		if err != nil {
			return nil, err
		}
		a.Profiles[spec.Name] = became
		if !spec.Ephemeral {
			s.stay()
		}
	}
	return a, nil
}

// upOne adds one profile, and says what became of it. Under mu.
func (s *Server) upOne(ctx context.Context, spec host.Spec, replace bool) (became string, err error) {
	if s.kind() == "run" {
		return "", &Error{http.StatusConflict, "bad", "a run has the one profile that it was started with", ""}
	}
	if !host.ValidName(spec.Name) {
		return "", bad("%q is no name of a profile", spec.Name)
	}
	became = "created"
	there := s.Host.Profile(spec.Name)
	switch {
	case there == nil:
		_, err = s.Host.Up(ctx, spec)
	case there.Spec.Same(&spec):
		return "same", nil
	case !replace && there.Spec.Ephemeral && spec.Adopts(&there.Spec):
		_, err = s.Host.Adopt(there, spec)
	case replace || there.Spec.Ephemeral && idle(there):
		became = "replaced"
		if err = s.Host.Down(ctx, there); err == nil {
			_, err = s.Host.Up(ctx, spec)
		}
	case there.Spec.Ephemeral:
		return "", &Error{http.StatusConflict, "exists", fmt.Sprintf("profile %s still runs what was submitted before it was up, and only takes that over with the values that it has of --memory, --scheduling, --retries, --seed, --spread and --share-limit", spec.Name),
			"`muster status` shows which ids `muster wait` would wait for; --replace resets the profile: what is unresolved resolves with 19, Connection reset"}
	default:
		return "", &Error{http.StatusConflict, "exists", fmt.Sprintf("profile %s is up with other values", spec.Name),
			"--replace resets it: what is unresolved resolves with 19, Connection reset; `muster launch` adds workers"}
	}
	if errors.Is(err, dispatcher.ErrClosed) {
		err = &Error{http.StatusGone, "closed", "this dispatcher is ending", "try again in a moment"}
	}
	return became, err
}

// idle reports whether a profile has no task that is not resolved.
func idle(p *host.Profile) bool {
	i := p.Pool.Info()
	return i.Executing+i.Awaiting == 0
}

// stay has a dispatcher stay that would have ended with its last result.
func (s *Server) stay() {
	s.kindMu.Lock()
	defer s.kindMu.Unlock()
	if s.Kind == "ephemeral" {
		s.Kind = "up"
	}
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
	err = s.Host.Down(context.WithoutCancel(r.Context()), p)
	return DownAnswer{s.Host.Fleet().Notes()}, err
}

// DownAnswer says what whoever ends a profile or a dispatcher is to know of what was
// taken back.
type DownAnswer struct {
	Notes []string `json:"notes,omitempty"`
}

func (s *Server) shutdown(_ http.ResponseWriter, r *http.Request) (any, error) {
	if s.Shutdown == nil {
		return nil, &Error{http.StatusConflict, "bad", "a run ends by itself, or by Ctrl-C where it was started", ""}
	}
	err := s.Shutdown(context.WithoutCancel(r.Context()))
	return DownAnswer{s.Host.Fleet().Notes()}, err
}

// NamesRequest asks for the names of a plan: of its launches, with the files and the
// addresses that go with them.
type NamesRequest struct {
	Plan *plan.Plan `json:"plan"`
	// Asker is a socket at which the caller answers what a login asks.
	Asker string `json:"asker,omitempty"`
}

// NamesAnswer has a name for each place in which the plan starts workers.
type NamesAnswer struct {
	Names []plan.Names `json:"names"`
}

func (s *Server) names(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	var q NamesRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	if q.Plan == nil {
		return nil, bad("names are minted for a plan, and there is none")
	}
	if err := launches(p); err != nil {
		return nil, err
	}
	names, err := p.Names(r.Context(), q.Plan, q.Asker)
	return NamesAnswer{names}, err
}

// launches refuses a profile that has no workers.
func launches(p *host.Profile) error {
	if p.Spec.Sync {
		return &Error{http.StatusConflict, "bad", fmt.Sprintf("profile %s runs its tasks in its callers, one after another: it has no workers", p.Spec.Name), "that is sync mode; take --sync away to have workers"}
	}
	return nil
}

// LaunchRequest is the body of a launch: workers on this machine, or plans with
// names.
type LaunchRequest struct {
	Workers int          `json:"workers"`
	Plans   []*plan.Plan `json:"plans"`
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
	if err := launches(p); err != nil {
		return nil, err
	}
	for _, pl := range q.Plans {
		if pl == nil || len(pl.Names) != len(pl.Kind.Places()) {
			return nil, bad("a plan is launched with the names that /names has minted for it")
		}
	}
	if len(q.Plans) > 0 {
		s.Host.Watch(nil) // over what was submitted before a failure too
	}
	// A caller that goes away takes back nothing that was submitted.
	done, err := p.Launch(context.WithoutCancel(r.Context()), q.Plans, q.Asker)
	if err != nil && len(done.Jobs) > 0 {
		err = fmt.Errorf("%w; submitted before that: %s", err, strings.Join(done.Jobs, ", "))
	}
	if err != nil {
		return nil, err
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
	Uses      int            `json:"uses"`
	Valid     units.Duration `json:"valid"`
	Elsewhere bool           `json:"elsewhere"` // for other machines too
	Loopback  bool           `json:"loopback"`  // for those who come in by a tunnel
	Once      bool           `json:"once"`      // it goes where others may read it: no worker is let in again
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
	j, text, err := p.NewJoin(host.JoinWish{Uses: q.Uses, Valid: time.Duration(q.Valid), Once: q.Once, Elsewhere: q.Elsewhere, Loopback: q.Loopback})
	return JoinAnswer{j, text.Encode()}, err
}

func (s *Server) revoke(_ http.ResponseWriter, r *http.Request) (any, error) {
	if !s.Host.RevokeJoin(r.PathValue("id")) {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no join string %q here", r.PathValue("id")), "`muster join list` shows those that are"}
	}
	return struct{}{}, nil
}
