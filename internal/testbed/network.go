package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The addresses of a Network, the same in each: namespaces of one do not see
// another's. A compute node cN has 10.90.2.(10+N). Where the kernel has IPv6,
// fd00:90:S::H goes with 10.90.S.H.
const (
	LaptopAddr   = "10.90.1.2"
	LoginWAN     = "10.90.1.1" // the login node, as seen from the laptop, or the jump host if there is one
	LoginWAN6    = "fd00:90:1::1"
	LoginAddr    = "10.90.2.1" // the login node, as seen from its compute nodes
	JumpWAN      = "10.90.0.1" // the jump host, as seen from the laptop
	LaptopBehind = "10.90.0.2" // the laptop, as seen from the jump host
)

// NetworkOptions say what a Network has.
type NetworkOptions struct {
	Compute int    // compute nodes, at most 99
	SSHPort int    // the TCP port that is open towards the laptop; 0 is 22
	Jump    bool   // the laptop reaches a host jump, and only that the login node
	Home    string // root's home on the laptop; "" is a folder of the network's own
}

// Network is a laptop, a login node and compute nodes, made of the kernel's
// namespaces:
//
//	laptop 10.90.1.2 ── 10.90.1.1 login 10.90.2.1 ──┬── 10.90.2.11 c1
//	                                                └── 10.90.2.12 c2 ...
//
// The laptop reaches one TCP port of the login node; the others, and those of
// the compute nodes, refuse it. Compute nodes reach each other and the login
// node; what they send to the laptop is lost without a word. Each node has its
// own name, /etc/hosts, accounts and mounts. They share all other files, and the
// processes of each are seen from all.
type Network struct {
	Dir  string // bin holds in-NODE, which runs its arguments in that node
	opts NetworkOptions
	site *accounts // of all nodes but the laptop

	mu    sync.Mutex // guards what follows
	nodes map[string]*node
	lines []*delayLine
	links int
}

// StartNetwork builds a network, as root. dir must be absolute, and others must
// be able to traverse its parents. Stop has to follow.
func StartNetwork(dir string, o NetworkOptions) (_ *Network, err error) {
	if o.SSHPort == 0 {
		o.SSHPort = 22
	}
	if o.Compute < 0 || o.Compute > 99 {
		return nil, fmt.Errorf("a network has at most 99 compute nodes, not %d", o.Compute)
	}
	n := &Network{Dir: dir, opts: o, nodes: map[string]*node{}}
	defer func() {
		if err != nil {
			n.Stop()
		}
	}()
	if err := n.boot(); err != nil {
		return nil, err
	}
	return n, n.connect()
}

// Nodes lists the names: laptop, jump if there is one, login, c1 and so on.
func (n *Network) Nodes() []string {
	names := []string{"laptop"}
	if n.opts.Jump {
		names = append(names, "jump")
	}
	names = append(names, "login")
	for i := range n.opts.Compute {
		names = append(names, fmt.Sprintf("c%d", i+1))
	}
	return names
}

// boot starts every node, not yet connected.
func (n *Network) boot() error {
	if err := os.MkdirAll(filepath.Join(n.Dir, "bin"), 0o755); err != nil {
		return err
	}
	if n.opts.Home == "" {
		n.opts.Home = filepath.Join(n.Dir, "laptop")
	}
	laptop, err := newAccounts(filepath.Join(n.Dir, "etc-laptop"), n.opts.Home)
	if err != nil {
		return err
	}
	if n.site, err = newAccounts(filepath.Join(n.Dir, "etc-site"), filepath.Join(n.Dir, "home", "root")); err != nil {
		return err
	}
	for _, name := range n.Nodes() {
		of := n.site
		if name == "laptop" {
			of = laptop
		}
		d, err := startNode(n.Dir, name, n.hosts(name), of)
		if err != nil {
			return err
		}
		n.nodes[name] = d
	}
	return nil
}

// hosts is the /etc/hosts of a node: a laptop knows no compute node.
func (n *Network) hosts(name string) string {
	text := "127.0.0.1 localhost\n::1 localhost\n"
	if name == "laptop" || name == "jump" {
		text += LoginWAN + " login\n"
		if n.opts.Jump {
			text += JumpWAN + " jump\n"
		}
		return text + n.Addr("laptop") + " laptop\n"
	}
	text += LoginAddr + " login\n"
	for i := range n.opts.Compute {
		text += fmt.Sprintf("10.90.2.%d c%d\n", 11+i, i+1)
	}
	return text
}

// Addr is a node's IPv4 address as its neighbours inside the site see it: of the
// login node the one for its compute nodes.
func (n *Network) Addr(name string) string {
	switch {
	case name == "laptop" && n.opts.Jump:
		return LaptopBehind
	case name == "laptop":
		return LaptopAddr
	case name == "jump":
		return JumpWAN
	case name == "login":
		return LoginAddr
	}
	var i int
	fmt.Sscanf(name, "c%d", &i)
	return fmt.Sprintf("10.90.2.%d", 10+i)
}

// connect lays the cables and sets up the firewalls.
func (n *Network) connect() error {
	outer := "laptop"
	if n.opts.Jump {
		if err := n.cable("laptop", "eth0", "jump", "wan", 0); err != nil {
			return err
		}
		outer = "jump"
	}
	if err := n.cable(outer, "eth0", "login", "wan", 1); err != nil {
		return err
	}
	if err := n.node("login").ip("link add lan type bridge", "link set lan up", addresses("lan", 2, 1)); err != nil {
		return err
	}
	for i := range n.opts.Compute {
		if err := n.plug(i + 1); err != nil {
			return err
		}
	}
	for _, name := range []string{"login", "jump"} {
		if n.nodes[name] == nil {
			continue
		}
		if err := n.node(name).nft(fmt.Sprintf(gate, n.opts.SSHPort)); err != nil {
			return err
		}
	}
	return nil
}

// gate is the firewall of a host that the outside sees. A TCP reset is what
// "connection refused" is made of: any other rejection has the dialler try again
// for a second. What is for a compute node would be lost without a word, since
// nothing is forwarded: it is refused for tests to be quick.
const gate = `table inet gate {
	chain through {
		type filter hook prerouting priority 0;
		iifname { "wan", "to-laptop" } ip daddr 10.90.2.2-10.90.2.255 meta l4proto tcp reject with tcp reset
	}
	chain in {
		type filter hook input priority 0;
		ct state established,related accept
		iifname != { "wan", "to-laptop" } accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport %d accept
		meta l4proto tcp reject with tcp reset
		reject
	}
}
`

// cable connects a, which gets address 2 of a subnet, with b, which gets 1 and is
// the way to all else.
func (n *Network) cable(a, devA, b, devB string, subnet int) error {
	near, far := n.node(a), n.node(b)
	if err := near.ip(fmt.Sprintf("link add %s type veth peer name %s netns %d", devA, devB, far.pid()), "link set "+devA+" up",
		addresses(devA, subnet, 2)); err != nil {
		return err
	}
	if err := far.ip("link set "+devB+" up", addresses(devB, subnet, 1)); err != nil {
		return err
	}
	return near.ip(fmt.Sprintf("route add default via 10.90.%d.1", subnet))
}

// plug connects compute node i with the login node's bridge.
func (n *Network) plug(i int) error {
	c, login := n.node(fmt.Sprintf("c%d", i)), n.node("login")
	if err := c.ip(fmt.Sprintf("link add eth0 type veth peer name p%d netns %d", i, login.pid()), "link set eth0 up",
		addresses("eth0", 2, 10+i), "route add default via "+LoginAddr); err != nil {
		return err
	}
	return login.ip(fmt.Sprintf("link set p%d master lan up", i))
}

// addresses are ip(8)'s lines that give a device its addresses.
func addresses(dev string, subnet, host int) string {
	lines := fmt.Sprintf("addr add 10.90.%d.%d/24 dev %s", subnet, host, dev)
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		lines += fmt.Sprintf("\naddr add fd00:90:%d::%x/64 dev %s nodad", subnet, host, dev)
	}
	return lines
}

// node returns a node that must be there: a wrong name is a mistake in a test.
func (n *Network) node(name string) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[name] == nil {
		panic(fmt.Sprintf("testbed: the network has no node %q, but %s", name, strings.Join(n.Nodes(), ", ")))
	}
	return n.nodes[name]
}

// Has reports whether there is a node of this name.
func (n *Network) Has(name string) bool { return slices.Contains(n.Nodes(), name) }

// Down has every packet from and to a node lost, and neither end is told:
// addresses, routes and connections stay.
func (n *Network) Down(name string) error {
	return n.node(name).nft(`table inet cut {
	chain in { type filter hook input priority -300; iifname != "lo" drop; }
	chain out { type filter hook output priority -300; oifname != "lo" drop; }
}
`)
}

// Up ends what Down began.
func (n *Network) Up(name string) error {
	return n.node(name).nft("add table inet cut\ndelete table inet cut\n")
}

// Delay lays a second way between two nodes, on which every packet takes so
// long, and returns their addresses on it. Stop takes it away.
func (n *Network) Delay(a, b string, oneWay time.Duration) (addrA, addrB string, err error) {
	near, far := n.node(a), n.node(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links++
	addrA, addrB = fmt.Sprintf("10.91.%d.1", n.links), fmt.Sprintf("10.91.%d.2", n.links)
	left, err := near.tun("to-"+b, addrA, addrB)
	if err != nil {
		return "", "", err
	}
	right, err := far.tun("to-"+a, addrB, addrA)
	if err != nil {
		return "", "", errors.Join(err, left.Close())
	}
	n.lines = append(n.lines, newDelayLine(left, right, oneWay))
	return addrA, addrB, nil
}

// Stop ends every process in the network's nodes, and the nodes.
func (n *Network) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		l.Close()
	}
	endInside(n.nodes)
	for _, node := range n.nodes {
		node.end()
	}
	clear(n.nodes)
	n.lines = nil
}
