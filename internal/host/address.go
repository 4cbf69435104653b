package host

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"muster/dispatcher"
	"muster/internal/plan"
	"muster/internal/remote"
)

// dial returns where the workers of a place dial: this machine, or the one
// behind SSH, on its loopback for a tunnel and on its network for a relay.
func (p *Profile) dial(ctx context.Context, place plan.Place, site *remote.Site) (func() []string, error) {
	if !place.Relayed {
		addrs, err := p.addresses(p.Spec.Listen)
		return func() []string { return addrs }, err
	}
	key := portKey{site: site, host: "127.0.0.1"}
	if !place.Tunnel {
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

// anyPort is any port of all addresses.
const anyPort = ":0"

// addresses opens a port, if it is not open yet, and returns where workers on
// other machines dial. An empty listen is anyPort.
func (p *Profile) addresses(listen string) ([]string, error) {
	l, err := p.h.listen(cmp.Or(listen, anyPort))
	if err != nil {
		return nil, err
	}
	list, err := candidates(p.h.names(), l, p.Spec.Hosts)
	if err != nil {
		return nil, fmt.Errorf("find out where workers dial this machine: %w; url in the profile, or --url, names an address", err)
	}
	var addrs []string
	for _, c := range list {
		addrs = append(addrs, "tcp:"+c.Address)
	}
	return addrs, nil
}

// listen opens a port on this machine, once.
func (h *Host) listen(at string) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, dispatcher.ErrClosed
	}
	if l := h.tcp[at]; l != nil {
		return l, nil
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("listen for workers: %w", err)
	}
	h.tcp[at] = l
	h.serve(l)
	return l, nil
}
