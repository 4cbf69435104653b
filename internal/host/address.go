package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"muster/dispatcher"
	"muster/internal/launch"
	"muster/internal/remote"
)

// dial returns where the workers of a plan dial: this machine, or the one
// behind SSH, on its loopback for a tunnel and on its network for a relay.
func (p *Profile) dial(ctx context.Context, plan *launch.Plan, site *remote.Site) (func() []string, error) {
	if site == nil || !plan.Relayed() {
		addrs, err := p.addresses(p.Spec.Listen)
		return func() []string { return addrs }, err
	}
	key := portKey{site: site, host: "127.0.0.1"}
	if !plan.Tunnel {
		key.host = ""
		_, number, _ := net.SplitHostPort(p.Spec.Listen)
		key.port, _ = strconv.Atoi(number)
	}
	port, err := p.h.port(ctx, key)
	if err != nil {
		return nil, err
	}
	return func() []string {
		var addrs []string
		for _, a := range port.Addresses() {
			addrs = append(addrs, "tcp:"+a)
		}
		return addrs
	}, nil
}

// portKey tells the ports on other machines apart.
type portKey struct {
	site *remote.Site
	host string
	port int
}

// opening is a port on another machine, or one that is being opened.
type opening struct {
	done chan struct{}
	port *remote.Port
	err  error
}

// port opens a port on another machine, once, and serves those who dial it.
func (h *Host) port(ctx context.Context, key portKey) (*remote.Port, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, dispatcher.ErrClosed
	}
	o := h.ports[key]
	if o != nil {
		h.mu.Unlock()
		select {
		case <-o.done:
			return o.port, o.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	o = &opening{done: make(chan struct{})}
	h.ports[key] = o
	h.mu.Unlock()
	o.port, o.err = key.site.Listen(ctx, key.host, key.port)
	close(o.done)
	if o.err != nil {
		h.mu.Lock()
		delete(h.ports, key)
		h.mu.Unlock()
		return nil, o.err
	}
	go func() {
		h.D.Serve(o.port) // until the port is closed, with its site
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.ports, key)
	}()
	return o.port, nil
}

// addresses opens a port, if it is not open yet, and returns where workers on
// other machines dial. An empty listen is any port of all addresses.
func (p *Profile) addresses(listen string) ([]string, error) {
	h := p.h
	if listen == "" {
		listen = ":0"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, dispatcher.ErrClosed
	}
	l := h.tcp[listen]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", listen); err != nil {
			return nil, fmt.Errorf("listen for workers: %w", err)
		}
		h.tcp[listen] = l
		h.serve(l)
	}
	var addrs []string
	hosts := p.Spec.Hosts
	if strings.HasPrefix(listen, "127.") {
		hosts = nil
	}
	for _, c := range Candidates(l.Addr().(*net.TCPAddr), hosts) {
		addrs = append(addrs, "tcp:"+c.Address)
	}
	return addrs, nil
}

// Candidate is an address under which a listener may be reached.
type Candidate struct {
	Interface string `json:"interface"` // or what the name comes from: hostname, url
	Address   string `json:"address"`   // HOST:PORT
	URL       string `json:"url"`
}

// Candidates lists the addresses of a listener: those of hosts if there are
// any, else of each interface.
func Candidates(a *net.TCPAddr, hosts []string) []Candidate {
	var list []Candidate
	add := func(name, host string) {
		address := net.JoinHostPort(host, fmt.Sprint(a.Port))
		list = append(list, Candidate{name, address, "tls+tcp://" + address})
	}
	for _, host := range hosts {
		add("url", host)
	}
	if len(hosts) > 0 {
		return list
	}
	if !a.IP.IsUnspecified() {
		add("listen", a.IP.String())
		return list
	}
	if host, err := os.Hostname(); err == nil {
		add("hostname", host)
	}
	ifaces, _ := net.Interfaces()
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		for _, ia := range addrs {
			if n, ok := ia.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				add(i.Name, n.IP.String())
			}
		}
	}
	return list
}

// URLs returns where workers may dial: on this machine, and elsewhere if a
// port is open.
func (h *Host) URLs() []Candidate {
	list := []Candidate{{"local", h.socket, "unix://" + h.socket}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for listen, l := range h.tcp {
		var hosts []string
		for _, p := range h.profiles {
			if p.Spec.Listen == listen {
				hosts = append(hosts, p.Spec.Hosts...)
			}
		}
		list = append(list, Candidates(l.Addr().(*net.TCPAddr), hosts)...)
	}
	return list
}
