package host

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"muster/internal/address"
)

// Candidate is an address under which a listener may be reached.
type Candidate struct {
	// Interface is that of the address; or what it comes from: hostname, url, listen;
	// local for a socket; "via HOST" for an address of that other machine.
	Interface string         `json:"interface"`
	Family    address.Family `json:"family,omitempty"` // empty for a name
	Address   string         `json:"address"`          // HOST:PORT
	URL       string         `json:"url"`
}

// Candidates are addresses with a port.
func Candidates(list []address.Address, port int) []Candidate {
	var with []Candidate
	for _, a := range list {
		at := net.JoinHostPort(a.Host, strconv.Itoa(port))
		with = append(with, Candidate{cmp.Or(a.Interface, "url"), a.Family, at, "tls+tcp://" + at})
	}
	return with
}

// Of reports whether a candidate is of a choice.
func (c Candidate) Of(choice address.Choice) bool {
	return choice.Has(address.Address{Interface: c.Interface, Family: c.Family})
}

// candidates are the addresses of a listener on this machine: those of hosts if there
// are any, else all that others can reach. What listens at one address has that one;
// if it is loopback, whatever hosts there are.
func candidates(names address.Names, l net.Listener, hosts []string) ([]Candidate, error) {
	if err := fewHosts(hosts); err != nil {
		return nil, err
	}
	at := l.Addr().(*net.TCPAddr)
	m, err := address.Here(names)
	if at.IP.IsLoopback() || len(hosts) == 0 && !at.IP.IsUnspecified() {
		own := m.At(at.IP.String())
		own.Interface = cmp.Or(own.Interface, "listen")
		return Candidates([]address.Address{own}, at.Port), nil
	}
	if len(hosts) == 0 {
		if err != nil {
			return nil, err
		}
		list, err := m.Addresses(address.Choice{})
		return Candidates(list, at.Port), err
	}
	var list []address.Address
	for _, host := range hosts {
		list = append(list, m.At(host)) // without an interface if they cannot be listed
	}
	return Candidates(list, at.Port), nil
}

// fewHosts checks that workers can dial so many.
func fewHosts(hosts []string) error {
	if n := len(hosts); n > address.Most {
		return fmt.Errorf("url names %d hosts, and workers dial %d at most", n, address.Most)
	}
	return nil
}

// lookUp finds the machine's names for a Host, which asks once.
func lookUp() address.Names { return address.LookUp(context.Background()) }

// URLs returns where workers may dial: on this machine, and elsewhere if a port is
// open, here or on a machine behind SSH.
func (h *Host) URLs() []Candidate {
	list := []Candidate{{Interface: "local", Address: h.socket, URL: "unix://" + h.socket}}
	add := func(more []Candidate) {
		for _, c := range more {
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	open, hosts := h.listeners()
	for _, listen := range slices.Sorted(maps.Keys(open)) {
		for _, names := range hosts[listen] {
			more, _ := candidates(h.names(), open[listen], names) // who hands them out reports the error
			add(more)
		}
	}
	add(h.relayed())
	return list
}

// listeners are the ports that are open on this machine, by what they were asked to
// listen on, and for each the hosts of every profile whose workers dial it.
func (h *Host) listeners() (open map[string]net.Listener, hosts map[string][][]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	open, hosts = maps.Clone(h.tcp), map[string][][]string{}
	for _, name := range slices.Sorted(maps.Keys(h.profiles)) {
		spec := h.profiles[name].Spec
		listen := cmp.Or(spec.Listen, anyPort)
		hosts[listen] = append(hosts[listen], spec.Hosts)
	}
	for listen := range open {
		if hosts[listen] == nil {
			hosts[listen] = [][]string{nil} // of profiles that are gone, or a tunnel's
		}
	}
	return open, hosts
}

// relayed are the ports on other machines that workers there dial. Those on a
// machine's loopback are for that machine alone.
func (h *Host) relayed() []Candidate {
	h.mu.Lock()
	ports := maps.Clone(h.ports)
	h.mu.Unlock()
	var list []Candidate
	for key, o := range ports {
		select {
		case <-o.done:
		default:
			continue
		}
		if o.err != nil || key.host != "" {
			continue
		}
		for _, at := range o.port.Addresses() {
			host, _, _ := net.SplitHostPort(at)
			list = append(list, Candidate{"via " + key.site.Login().Name(), address.FamilyOf(host), at, "tls+tcp://" + at})
		}
	}
	slices.SortStableFunc(list, func(a, b Candidate) int { return cmp.Compare(a.Interface, b.Interface) })
	return list
}
