package address

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Names are what a machine is called, the full name first.
type Names struct {
	List []string
	// OnlyLoopback says that they resolve on this machine, and to nothing but
	// loopback. Some systems have their own name so in /etc/hosts. Another machine
	// may know the name from a name server; one with the same /etc/hosts reaches
	// itself.
	OnlyLoopback bool
}

func (n Names) addresses() []Address {
	var list []Address
	for _, name := range n.List {
		list = append(list, Address{Host: name, Interface: HostName})
	}
	return list
}

// nameTime bounds the questions about this machine's name.
const nameTime = time.Second

// LookUp finds this machine's names. A name that does not resolve here, or not
// in time, is taken to be known elsewhere. localhost is nobody's name.
func LookUp(ctx context.Context) Names {
	name, err := os.Hostname()
	if err != nil || name == "" || local(name) {
		return Names{}
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	n := Names{List: []string{name}}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	n.OnlyLoopback = err == nil && len(ips) > 0 && !slices.ContainsFunc(ips, func(ip netip.Addr) bool { return !ip.Unmap().IsLoopback() })
	if strings.Contains(name, ".") {
		return n
	}
	full, err := net.DefaultResolver.LookupCNAME(ctx, name)
	full = strings.TrimSuffix(full, ".")
	if err == nil && strings.HasPrefix(full, name+".") && !local(full) {
		n.List = []string{full, name}
	}
	return n
}

// local reports whether a name means every machine's own loopback (RFC 6761).
func local(name string) bool {
	return name == "localhost" || strings.HasPrefix(name, "localhost.") || strings.HasSuffix(name, ".localhost")
}

// Here describes this machine, which has these names.
func Here(names Names) (Machine, error) {
	m := Machine{Names: names}
	ifaces, err := net.Interfaces()
	if err != nil {
		return m, fmt.Errorf("list the network's interfaces: %w", err)
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone by now
		}
		is := Interface{Name: i.Name, Index: i.Index, Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					is.IPs = append(is.IPs, ip.Unmap())
				}
			}
		}
		m.Interfaces = append(m.Interfaces, is)
	}
	return m, nil
}
