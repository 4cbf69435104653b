package host

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"time"

	"muster/dispatcher"
	mtls "muster/tls"
)

// joinRecord is a token that a person has been given.
type joinRecord struct {
	Join
	n       int // the how many-th it is
	launch  *mtls.Launch
	profile *Profile
}

// Join says what a join string lets in.
type Join struct {
	ID      string    `json:"id"`
	Profile string    `json:"profile"`
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
	Until   time.Time `json:"until"` // zero for as long as the profile
}

// JoinWish says what a join string is for.
type JoinWish struct {
	Uses      int           // workers that it admits
	Valid     time.Duration // for how long; 0 is as long as the profile
	Once      bool          // it goes where others may read it: nobody is admitted again
	Elsewhere bool          // it has the addresses that other machines reach
	Loopback  bool          // it has this machine's loopback alone, to which a tunnel leads
}

// NewJoin makes a join string.
func (p *Profile) NewJoin(w JoinWish) (Join, mtls.Join, error) {
	h := p.h
	addrs := []string{"unix:" + h.socket}
	if w.Elsewhere || w.Loopback {
		listen := p.Spec.Listen
		if w.Loopback {
			_, port, _ := net.SplitHostPort(listen)
			listen = net.JoinHostPort("127.0.0.1", cmp.Or(port, "0"))
			addrs = nil // the other end of a tunnel has no such socket
		}
		more, err := p.addresses(listen)
		if err != nil {
			return Join{}, mtls.Join{}, err
		}
		addrs = append(addrs, more...)
	}
	var until time.Time
	if w.Valid > 0 {
		until = time.Now().Add(w.Valid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.profiles[p.Spec.Name] != p {
		return Join{}, mtls.Join{}, dispatcher.ErrClosed
	}
	h.dropExpired()
	h.joined++
	id := fmt.Sprintf("join-%d", h.joined)
	l := mtls.NewLaunch(h.Run.ID+"-"+id, mtls.Terms{Uses: w.Uses, Until: until, Once: w.Once})
	p.Pool.AddLaunch(l, dispatcher.LaunchOptions{Lease: time.Duration(p.Spec.Reattach)})
	h.joins[id] = &joinRecord{n: h.joined, Join: Join{ID: id, Profile: p.Spec.Name, Uses: w.Uses, Until: until}, launch: l, profile: p}
	return h.joins[id].Join, p.joinBy(l, addrs), nil
}

// Joins lists the join strings that may still admit somebody, oldest first.
func (h *Host) Joins() []Join {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropExpired()
	list := []Join{}
	for _, j := range h.joins {
		j.Used = j.launch.Used()
		list = append(list, j.Join)
	}
	slices.SortFunc(list, func(a, b Join) int { return cmp.Compare(h.joins[a.ID].n, h.joins[b.ID].n) })
	return list
}

// dropExpired forgets the join strings whose time is over. Under Host.mu.
func (h *Host) dropExpired() {
	for id, j := range h.joins {
		if !j.Until.IsZero() && time.Now().After(j.Until) {
			j.forget()
			delete(h.joins, id)
		}
	}
}

// RevokeJoin lets nobody in any more with a join string; workers that it let
// in stay. It reports whether there was one.
func (h *Host) RevokeJoin(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.joins[id]
	if j == nil {
		return false
	}
	j.forget()
	delete(h.joins, id)
	return true
}

func (j *joinRecord) forget() { j.profile.Pool.RemoveLaunch(j.launch) }
