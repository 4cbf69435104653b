package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/task"
)

// Status returns the full picture, with the oldest futures.
func (s *Server) Status() *Status {
	all := s.Host.D.Futures()
	return s.statusOf(all[:min(len(all), maxListed)])
}

// statusOf returns the full picture, with some futures.
func (s *Server) statusOf(list []*dispatcher.Future) *Status {
	st := Describe(s.Host, s.Name, s.kind())
	st.Version, st.Socket, st.Log = s.Version, s.socket.Addr().String(), s.Log
	for _, f := range list {
		st.Futures = append(st.Futures, f.Status())
	}
	return st
}

// Describe returns how a host stands that others know by a name and as a kind. Its
// futures, and what belongs to a server of it, are left empty.
func Describe(h *host.Host, name, kind string) *Status {
	st := &Status{API: APIVersion, Name: name, Kind: kind, Run: h.Run.ID, Pid: os.Getpid(), Started: h.Started(), URLs: h.URLs(),
		Profiles: []ProfileStatus{}, Futures: []dispatcher.FutureStatus{}, Jobs: append([]string{}, h.Fleet().Jobs()...)}
	c := around(h, name, kind)
	st.Standing = c.standing
	for _, p := range h.D.Pools() {
		st.Profiles = append(st.Profiles, c.describe(h, p))
	}
	return st
}

// describe returns how one profile stands, and why.
func (c circumstances) describe(h *host.Host, p *dispatcher.Pool) ProfileStatus {
	ps := ProfileStatus{PoolStatus: p.Status(), Expected: p.Expected()}
	var trouble error
	if hp := h.Profile(p.Name()); hp != nil {
		ps.Sync, ps.Shares, trouble = hp.Spec.Sync, hp.Shares.Info(), hp.Trouble()
	}
	ps.Reasons = c.reasons(&ps, trouble)
	return ps
}

// maxListed is how many futures a status lists.
const maxListed = 1000

// watchEvery is the least time from one status of a stream to the next.
const watchEvery = 250 * time.Millisecond

func (s *Server) status(w http.ResponseWriter, r *http.Request) (any, error) {
	q := r.URL.Query()
	if q.Has("futures") {
		return s.statusOfSome(q.Get("futures"))
	}
	if q.Get("watch") != "true" {
		return s.Status(), nil
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for {
		// Whatever changes after this is in the next status.
		changed := s.changed()
		if enc.Encode(s.Status()) != nil || http.NewResponseController(w).Flush() != nil {
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

// statusOfSome returns the full picture with the futures of ids that commas separate, as
// far as there are such.
func (s *Server) statusOfSome(ids string) (*Status, error) {
	var list []*dispatcher.Future
	for word := range strings.SplitSeq(ids, ",") {
		if word == "" {
			continue
		}
		id, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return nil, bad("%q is no id: it is a number", word)
		}
		if f := s.Host.D.Future(dispatcher.ID(id)); f != nil {
			list = append(list, f)
		}
	}
	return s.statusOf(list), nil
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

// Info is the five counters of a profile, and why nothing happens there if nothing does.
type Info struct {
	task.Info
	Expected int      `json:"expected,omitempty"` // workers that may yet join
	Reasons  []Reason `json:"reasons,omitempty"`
	Log      string   `json:"log,omitempty"` // where more is said, if there are reasons
}

func (s *Server) info(_ http.ResponseWriter, r *http.Request) (any, error) {
	name := r.URL.Query().Get("profile")
	p := s.Host.D.Pool(name)
	if p == nil {
		return nil, &Error{http.StatusNotFound, "unknown", fmt.Sprintf("there is no profile %q here", name), ""}
	}
	c := around(s.Host, s.Name, s.kind())
	ps := c.describe(s.Host, p)
	i := Info{Info: ps.Info, Expected: ps.Expected, Reasons: ps.Reasons}
	if len(i.Reasons) > 0 {
		i.Log = s.Log
	}
	return i, nil
}
