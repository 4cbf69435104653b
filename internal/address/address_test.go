package address_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"muster/internal/address"
)

// iface makes an interface of words: its number, its name, flags, addresses.
func iface(index int, name, flags string, ips ...string) address.Interface {
	i := address.Interface{Name: name, Index: index, Up: strings.Contains(flags, "up"), Loopback: strings.Contains(flags, "lo")}
	for _, ip := range ips {
		i.IPs = append(i.IPs, netip.MustParseAddr(ip))
	}
	return i
}

// login is a login node with two networks, in an order that is not its own.
var login = []address.Interface{
	iface(3, "docker0", "up", "172.17.0.1"),
	iface(5, "ib0", "up", "fe80::5", "10.1.0.3"),
	iface(1, "lo", "up lo", "127.0.0.1", "::1"),
	iface(2, "eth0", "up", "fd00::3", "10.0.0.3", "fe80::2"),
	iface(4, "idrac", "up", "169.254.1.2"),
	iface(6, "eth1", "", "10.2.0.3"),
	iface(7, "ib1", "up"),
}

var alone = []address.Interface{iface(1, "lo", "up lo", "127.0.0.1", "::1"), iface(2, "wlan0", "up", "fe80::1")}

func TestAddresses(t *testing.T) {
	one := address.Names{List: []string{"node1"}}
	for _, c := range []struct {
		name    string
		machine address.Machine
		choice  address.Choice
		want    string
	}{
		{"the name first, containers last", address.Machine{one, login}, address.Choice{},
			"node1@hostname 10.0.0.3@eth0 fd00::3@eth0 10.1.0.3@ib0 172.17.0.1@docker0"},
		{"the full name before the short one", address.Machine{address.Names{List: []string{"node1.example.org", "node1"}}, login}, address.Choice{},
			"node1.example.org@hostname node1@hostname 10.0.0.3@eth0 fd00::3@eth0 10.1.0.3@ib0 172.17.0.1@docker0"},
		{"a name that is loopback here last", address.Machine{address.Names{[]string{"node1"}, true}, login}, address.Choice{},
			"10.0.0.3@eth0 fd00::3@eth0 10.1.0.3@ib0 172.17.0.1@docker0 node1@hostname"},
		{"no name", address.Machine{address.Names{}, login}, address.Choice{}, "10.0.0.3@eth0 fd00::3@eth0 10.1.0.3@ib0 172.17.0.1@docker0"},
		{"nothing but loopback", address.Machine{one, alone}, address.Choice{}, "node1@hostname 127.0.0.1@lo ::1@lo"},
		{"nothing but loopback, and a name for it", address.Machine{address.Names{[]string{"node1"}, true}, alone}, address.Choice{}, "127.0.0.1@lo ::1@lo node1@hostname"},
		{"a family has no name", address.Machine{one, login}, address.Choice{Family: address.IPv4}, "10.0.0.3@eth0 10.1.0.3@ib0 172.17.0.1@docker0"},
		{"the other family", address.Machine{one, login}, address.Choice{Family: address.IPv6}, "fd00::3@eth0"},
		{"an interface", address.Machine{one, login}, address.Choice{Interfaces: []string{"ib0"}}, "10.1.0.3@ib0"},
		{"two, in the order asked for", address.Machine{one, login}, address.Choice{Interfaces: []string{"ib0", "eth0", "ib0"}}, "10.1.0.3@ib0 10.0.0.3@eth0 fd00::3@eth0"},
		{"both", address.Machine{one, login}, address.Choice{Interfaces: []string{"eth0"}, Family: address.IPv6}, "fd00::3@eth0"},
		{"loopback, asked for", address.Machine{one, login}, address.Choice{Interfaces: []string{"lo"}, Family: address.IPv4}, "127.0.0.1@lo"},
		{"link-local IPv4, asked for", address.Machine{one, login}, address.Choice{Interfaces: []string{"idrac"}}, "169.254.1.2@idrac"},
		{"a bridge, asked for", address.Machine{one, login}, address.Choice{Interfaces: []string{"docker0"}}, "172.17.0.1@docker0"},
	} {
		list, err := c.machine.Addresses(c.choice)
		var got []string
		for _, a := range list {
			got = append(got, a.Host+"@"+a.Interface)
			if a.Family != address.FamilyOf(a.Host) {
				t.Errorf("%s: the family of %s is %q", c.name, a.Host, a.Family)
			}
			if a.Family != address.Any && c.machine.At(a.Host) != a {
				t.Errorf("%s: %s is at %+v, not %+v", c.name, a.Host, c.machine.At(a.Host), a)
			}
			if !c.choice.Has(a) {
				t.Errorf("%s: %s is not of the choice", c.name, a.Host)
			}
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, strings.Join(got, " "), err, c.want)
		}
	}
}

func TestNoAddress(t *testing.T) {
	const there = "there are lo (127.0.0.1, ::1), eth0 (fd00::3, 10.0.0.3, fe80::2), idrac (169.254.1.2), ib0 (fe80::5, 10.1.0.3), eth1 (down, 10.2.0.3), ib1 (no address), docker0 (172.17.0.1)"
	for _, c := range []struct {
		interfaces []address.Interface
		choice     address.Choice
		want       string
	}{
		{login, address.Choice{Interfaces: []string{"eth0", "ib9"}}, `there is no interface "ib9" here: ` + there},
		{login, address.Choice{Interfaces: []string{""}}, `there is no interface "" here: ` + there},
		{login, address.Choice{Interfaces: []string{"ib0"}, Family: address.IPv6}, "interface ib0 has no ipv6 address that other machines could dial: it has fe80::5, 10.1.0.3"},
		{login, address.Choice{Interfaces: []string{"eth0", "ib0"}, Family: address.IPv6}, "interface ib0 has no ipv6 address that other machines could dial: it has fe80::5, 10.1.0.3"},
		{login, address.Choice{Interfaces: []string{"ib1"}}, "interface ib1 has no address"},
		{login, address.Choice{Interfaces: []string{"eth1"}}, "interface eth1 is down"},
		{alone, address.Choice{Interfaces: []string{"wlan0"}}, "interface wlan0 has no address that other machines could dial: it has fe80::1"},
		{alone, address.Choice{Family: address.IPv4}, "no interface has an ipv4 address that other machines could reach: there are lo (127.0.0.1, ::1), wlan0 (fe80::1)"},
		{nil, address.Choice{}, "this machine has neither a name nor an address: there are none"},
	} {
		list, err := address.Machine{Interfaces: c.interfaces}.Addresses(c.choice)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v\n got %v\nwant %s", c.choice, list, err, c.want)
		}
	}
}

// TestMany: a machine with very many interfaces hands out its best addresses, and a
// message names some of them.
func TestMany(t *testing.T) {
	m := address.Machine{Names: address.Names{List: []string{"node1"}}}
	for i := range 1000 {
		m.Interfaces = append(m.Interfaces, iface(i+1, fmt.Sprintf("veth%d", i), "up", fmt.Sprintf("10.%d.%d.1", i/250, i%250)))
	}
	m.Interfaces = append(m.Interfaces, iface(2000, "eth0", "up", "192.0.2.1"))
	list, err := m.Addresses(address.Choice{})
	if err != nil || len(list) != address.Most || list[0].Host != "node1" || list[1].Host != "192.0.2.1" {
		t.Errorf("%d addresses, first %v, %v", len(list), list[:2], err)
	}
	if _, err := m.Addresses(address.Choice{Interfaces: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "eth0 (192.0.2.1), veth0 (10.0.0.1)") ||
		!strings.HasSuffix(err.Error(), " and 985 more") {
		t.Error(err)
	}
}

func TestAt(t *testing.T) {
	m := address.Machine{address.Names{List: []string{"node1"}}, login}
	for host, want := range map[string]address.Address{
		"node1":            {"node1", address.HostName, address.Any},
		"head.example.org": {"head.example.org", "", address.Any},
		"::ffff:10.1.0.3":  {"::ffff:10.1.0.3", "ib0", address.IPv4},
		"203.0.113.1":      {"203.0.113.1", "", address.IPv4},
		"fd00:0::3":        {"fd00:0::3", "eth0", address.IPv6},
	} {
		if got := m.At(host); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}

func TestParseFamily(t *testing.T) {
	for text, want := range map[string]address.Family{"ipv4": address.IPv4, "ipv6": address.IPv6} {
		if f, err := address.ParseFamily(text); err != nil || f != want {
			t.Errorf("%s: %q, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "IPv4", "4", "inet"} {
		if f, err := address.ParseFamily(text); err == nil {
			t.Errorf("%q is %q", text, f)
		}
	}
}
