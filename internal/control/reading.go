package control

import (
	"encoding/json"
	"net/http"
	"sync"

	"muster/dispatcher"
)

// readings are the futures whose results are being read. Whoever reads one finds its
// outputs, even if somebody forgets the future meanwhile.
type readings struct {
	mu sync.Mutex // guards by
	by map[dispatcher.ID]*reading
}

// reading is one future and how many answers give its results.
type reading struct {
	future *dispatcher.Future
	n      int
}

// begin counts an answer in; whoever calls it calls end.
func (r *readings) begin(f *dispatcher.Future) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.by[f.ID()]
	if one == nil {
		one = &reading{future: f}
		if r.by == nil {
			r.by = map[dispatcher.ID]*reading{}
		}
		r.by[f.ID()] = one
	}
	one.n++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if one.n--; one.n == 0 {
			delete(r.by, f.ID())
		}
	}
}

// find returns a future that is being read, nil if it is not.
func (r *readings) find(id dispatcher.ID) *dispatcher.Future {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.by[id]; one != nil {
		return one.future
	}
	return nil
}

// hold ends an answer with a result that has no index, and keeps it open until the
// caller hangs up: until then the outputs that did not come with the results are
// theirs to fetch.
func hold(w http.ResponseWriter, r *http.Request) {
	var last struct {
		Index int `json:"index"`
	}
	if json.NewEncoder(w).Encode(last) == nil && http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
}
