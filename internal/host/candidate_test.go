package host_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"muster/internal/address"
	"muster/internal/host"
)

// TestWhereWorkersDial: a join string and the status have the same addresses, in the
// same order, and the status says whose each is.
func TestWhereWorkersDial(t *testing.T) {
	here, err := address.Here(address.Names{})
	if err != nil {
		t.Fatal(err)
	}
	loopback := here.At("127.0.0.1").Interface
	var many []string
	for i := range address.Most + 1 {
		many = append(many, fmt.Sprintf("node%d", i))
	}
	for _, c := range []struct {
		listen string
		hosts  []string
		want   string // HOST@INTERFACE/FAMILY; empty is whatever the machine has
	}{
		{"", nil, ""},
		{"127.0.0.1:0", nil, "127.0.0.1@" + loopback + "/ipv4"},
		{"127.0.0.1:0", []string{"head.example.org"}, "127.0.0.1@" + loopback + "/ipv4"}, // nobody else reaches it
		{"127.0.0.2:0", nil, "127.0.0.2@listen/ipv4"},
		{":0", []string{"head.example.org", "127.0.0.1", "203.0.113.1", "2001:db8::1"},
			"head.example.org@url/ 127.0.0.1@" + loopback + "/ipv4 203.0.113.1@url/ipv4 2001:db8::1@url/ipv6"},
		{":0", many[1:], strings.Join(many[1:], "@url/ ") + "@url/"},
	} {
		m := newHome(t)
		h := m.open()
		p, err := h.Up(t.Context(), host.Spec{Name: "p", Slots: 1, Listen: c.listen, Hosts: c.hosts})
		if err != nil {
			t.Fatal(err)
		}
		_, join, err := p.NewJoin(host.JoinWish{Uses: 1, Elsewhere: true})
		if err != nil {
			t.Fatal(err)
		}
		var dialled, shown, told []string
		for _, a := range join.Addrs[1:] {
			dialled = append(dialled, strings.TrimPrefix(a, "tcp:"))
		}
		for _, u := range h.URLs()[1:] {
			shown = append(shown, u.Address)
			name, _, _ := net.SplitHostPort(u.Address)
			told = append(told, fmt.Sprintf("%s@%s/%s", name, u.Interface, u.Family))
			if u.URL != "tls+tcp://"+u.Address {
				t.Errorf("%+v has another URL", u)
			}
		}
		if len(dialled) == 0 || !slices.Equal(dialled, shown) {
			t.Errorf("listening on %q for %q, workers dial %q, and shown are %q", c.listen, c.hosts, dialled, shown)
		}
		if got := strings.Join(told, " "); c.want != "" && got != c.want {
			t.Errorf("listening on %q for %q:\n got %s\nwant %s", c.listen, c.hosts, got, c.want)
		}
		m.shut(h)
	}
	if _, _, err := host.Endpoint(strings.Fields("tls+tcp://" + strings.Join(many, ":1 tls+tcp://") + ":1")); err == nil || err.Error() != "url names 33 hosts, and workers dial 32 at most" {
		t.Errorf("too many: %v", err)
	}
}

// TestProfilesShareAPort: the status has the addresses of all profiles of a port, each
// once and in one order.
func TestProfilesShareAPort(t *testing.T) {
	m := newHome(t)
	h := m.open()
	defer m.shut(h)
	for name, hosts := range map[string][]string{"b": {"two", "one"}, "a": {"one", "three"}, "c": {"two"}} {
		if _, err := h.Up(t.Context(), host.Spec{Name: name, Slots: 1, Listen: ":0", Hosts: hosts}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, u := range h.URLs()[1:] {
		name, _, _ := net.SplitHostPort(u.Address)
		got = append(got, name)
	}
	if want := []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("shown are %q, want %q", got, want)
	}
}
