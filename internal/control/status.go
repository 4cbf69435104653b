package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"muster/dispatcher"
)

func (s *Server) now() Status {
	st := Status{API: APIVersion, Version: s.Version, Name: s.Name, Kind: s.kind(), Socket: s.socket.Addr().String(), Run: s.Host.Run.ID, Pid: os.Getpid(),
		Started: s.Host.Started(), URLs: s.Host.URLs(), Profiles: []ProfileStatus{}, Futures: []dispatcher.FutureStatus{}, Jobs: append([]string{}, s.Host.Fleet().Jobs()...), Standing: s.Host.Fleet().Standing()}
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
