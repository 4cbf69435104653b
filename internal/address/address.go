// Package address says under which addresses other machines reach this one, best
// first.
package address

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Most is how many addresses are handed out at most: a worker dials all of them at
// once, and a join string holds 64.
const Most = 32

// Family is a version of IP.
type Family string

// The families. Any is that of a host name, and the choice of who makes none.
const (
	Any  Family = ""
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// ParseFamily reads the name of a family.
func ParseFamily(text string) (Family, error) {
	if f := Family(text); f == IPv4 || f == IPv6 {
		return f, nil
	}
	return Any, fmt.Errorf(`%q is no family of addresses: it is "ipv4" or "ipv6"`, text)
}

// FamilyOf returns the family of an IP address, and Any for a host name.
func FamilyOf(host string) Family {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return Any
	case ip.Unmap().Is4():
		return IPv4
	}
	return IPv6
}

// Interface is a network interface.
type Interface struct {
	Name     string
	Index    int // the kernel's, in the order in which interfaces came
	Up       bool
	Loopback bool
	IPs      []netip.Addr
}

// Machine is how a machine is called and connected.
type Machine struct {
	Names      Names
	Interfaces []Interface
}

// Address is where a machine may be reached.
type Address struct {
	Host      string // an IP address, or a host name
	Interface string // that has it, HostName, or empty if the machine has no such address
	Family    Family
}

// HostName stands in the place of an interface where a machine is called by its name.
const HostName = "hostname"

// Choice is which addresses are wanted. The zero value is all that others can reach.
type Choice struct {
	Interfaces []string // these alone; empty is all
	Family     Family
}

// Some reports whether the choice leaves anything out. A host name is left out then:
// it may resolve to an address of another interface, or of the other family.
func (c Choice) Some() bool { return len(c.Interfaces) > 0 || c.Family != Any }

// Has reports whether an address is of the choice.
func (c Choice) Has(a Address) bool {
	return (len(c.Interfaces) == 0 || slices.Contains(c.Interfaces, a.Interface)) && (c.Family == Any || c.Family == a.Family)
}

// Addresses returns those of the choice. The machine's names come first, then
// its interfaces in the kernel's order. What containers and virtual machines of this
// machine are connected by comes after the others: machines elsewhere rarely reach
// it. Names that mean loopback here come last, see Names.OnlyLoopback. Loopback
// itself is there if no other interface has an address.
//
// Link-local addresses are left out. A named interface has those of IPv4 too.
// Those of IPv6 mean nothing on another machine, whose interface they would have to
// name.
func (m Machine) Addresses(c Choice) ([]Address, error) {
	if len(c.Interfaces) > 0 {
		return m.named(c)
	}
	var list []Address
	for _, i := range m.sorted() {
		if i.Up && !i.Loopback {
			list = append(list, i.addresses(c.Family, netip.Addr.IsGlobalUnicast)...)
		}
	}
	if c.Family != Any {
		if len(list) == 0 {
			return nil, fmt.Errorf("no interface has an %s address that other machines could reach: there are %s", c.Family, m.describe())
		}
		return list[:min(len(list), Most)], nil
	}
	if len(list) == 0 {
		list = m.loopback()
	}
	if m.Names.OnlyLoopback {
		list = append(list, m.Names.addresses()...)
	} else {
		list = append(m.Names.addresses(), list...)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("this machine has neither a name nor an address: there are %s", m.describe())
	}
	return list[:min(len(list), Most)], nil
}

func (m Machine) loopback() []Address {
	var list []Address
	for _, i := range m.sorted() {
		if i.Up && i.Loopback {
			list = append(list, i.addresses(Any, netip.Addr.IsLoopback)...)
		}
	}
	return list
}

// named returns the addresses of interfaces that somebody has named. Each must have
// one.
func (m Machine) named(c Choice) ([]Address, error) {
	var list []Address
	for n, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:n], name) {
			continue
		}
		at := slices.IndexFunc(m.Interfaces, func(i Interface) bool { return i.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no interface %q here: there are %s", name, m.describe())
		}
		i := m.Interfaces[at]
		own := i.addresses(c.Family, usable)
		switch {
		case !i.Up:
			return nil, fmt.Errorf("interface %s is down", name)
		case len(i.IPs) == 0:
			return nil, fmt.Errorf("interface %s has no address", name)
		case len(own) == 0 && c.Family == Any:
			return nil, fmt.Errorf("interface %s has no address that other machines could dial: it has %s", name, i.describe())
		case len(own) == 0:
			return nil, fmt.Errorf("interface %s has no %s address that other machines could dial: it has %s", name, c.Family, i.describe())
		}
		list = append(list, own...)
	}
	return list, nil
}

// usable reports whether an address means something without the name of an interface.
func usable(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() || ip.IsLoopback() || ip.Is4() && ip.IsLinkLocalUnicast()
}

// addresses returns the interface's addresses of a family that are fit, IPv4 first.
func (i Interface) addresses(family Family, fit func(netip.Addr) bool) []Address {
	var list []Address
	for _, ip := range i.IPs {
		a := Address{Host: ip.String(), Interface: i.Name, Family: FamilyOf(ip.String())}
		if fit(ip) && (family == Any || family == a.Family) {
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b Address) int { return cmp.Compare(a.Family, b.Family) })
	return list
}

// sorted returns the interfaces, those that Virtual knows last.
func (m Machine) sorted() []Interface {
	return slices.SortedStableFunc(slices.Values(m.Interfaces), func(a, b Interface) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Index, b.Index))
	})
}

// rank is 0 for what others are likely to reach, and 1 for the rest.
func (i Interface) rank() int {
	if Virtual(i.Name) {
		return 1
	}
	return 0
}

// virtual are the beginnings of the names that container engines and hypervisors
// give to interfaces.
var virtual = []string{"docker", "br-", "veth", "podman", "cni", "nerdctl", "flannel", "cali", "cilium", "lxc", "weave",
	"kube-", "virbr", "vnet", "lxdbr", "vmnet", "vboxnet", "tap", "dummy", "ifb", "bridge"}

// Virtual reports whether an interface of this name connects this machine's own
// containers or virtual machines. It goes by the name: a bond, or a bridge over a
// network card, is as virtual to the kernel, and is how others reach the machine.
func Virtual(name string) bool {
	return slices.ContainsFunc(virtual, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// At says whose a host is that somebody else has named.
func (m Machine) At(host string) Address {
	if slices.Contains(m.Names.List, host) {
		return Address{Host: host, Interface: HostName}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return Address{Host: host}
	}
	a := Address{Host: host, Family: FamilyOf(host)}
	for _, i := range m.Interfaces {
		if slices.Contains(i.IPs, ip.Unmap()) {
			a.Interface = i.Name
			break
		}
	}
	return a
}

// described is how many interfaces a message names, and addresses of each.
const described = 16

func (m Machine) describe() string {
	var texts []string
	for _, i := range m.sorted() {
		texts = append(texts, fmt.Sprintf("%s (%s)", i.Name, i.describe()))
	}
	return enumerate(texts, "none")
}

func (i Interface) describe() string {
	var texts []string
	for _, ip := range i.IPs {
		texts = append(texts, ip.String())
	}
	text := enumerate(texts, "no address")
	if !i.Up {
		text = "down, " + text
	}
	return text
}

func enumerate(texts []string, none string) string {
	if len(texts) == 0 {
		return none
	}
	more := ""
	if n := len(texts) - described; n > 0 {
		texts, more = texts[:described], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(texts, ", ") + more
}
