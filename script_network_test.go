package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/testbed"
)

// site is the network of a script and what runs there.
type site struct {
	net   *testbed.Network
	sshds map[string]*testbed.SSHD
	ports map[string][]int // of a node, on which the site's own daemons listen
	watch *testbed.ArgsWatch
}

// sites are those of scripts, by their work directories.
var sites sync.Map

func siteOf(ts *testscript.TestScript) *site {
	work := ts.Getenv("WORK")
	s, loaded := sites.LoadOrStore(work, &site{sshds: map[string]*testbed.SSHD{}, ports: map[string][]int{}})
	if !loaded {
		ts.Defer(func() { sites.Delete(work) })
	}
	return s.(*site)
}

// node checks that a script's network has a node of this name.
func (s *site) node(ts *testscript.TestScript, name string) string {
	if s.net == nil || !s.net.Has(name) {
		ts.Fatalf("there is no node %s: the script needs a network with it first", name)
	}
	return name
}

// cmdNetwork starts a network for the rest of the script: network N [jump]. It
// sets the addresses LAPTOP, LOGIN (as compute nodes see it), LOGIN_WAN (as the
// laptop sees it; LOGIN_WAN6 is its IPv6), JUMP and C1 to CN, and puts in-laptop,
// in-login, in-c1 and so on in PATH, which run their arguments in that node.
// SITE_HOME is root's home on all nodes but the laptop; on that it is HOME.
func cmdNetwork(ts *testscript.TestScript, neg bool, args []string) {
	n := -1
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	jump := len(args) == 2 && args[1] == "jump"
	if neg || n < 0 || len(args) > 1 && !jump || len(args) > 2 {
		ts.Fatalf("usage: network COMPUTENODES [jump]")
	}
	dir := filepath.Join(ts.Getenv("WORK"), "net")
	net, err := testbed.StartNetwork(dir, testbed.NetworkOptions{Compute: n, Jump: jump, Home: ts.Getenv("HOME")})
	ts.Check(err)
	ts.Defer(net.Stop)
	siteOf(ts).net = net
	for _, name := range net.Nodes() {
		ts.Setenv(strings.ToUpper(name), net.Addr(name))
	}
	ts.Setenv("LOGIN_WAN", testbed.LoginWAN)
	ts.Setenv("LOGIN_WAN6", testbed.LoginWAN6)
	ts.Setenv("SITE_HOME", filepath.Join(dir, "home", "root"))
	ts.Setenv("PATH", filepath.Join(dir, "bin")+":"+ts.Getenv("PATH"))
}

// cmdIn runs a command in a node: [!] in NODE COMMAND...
func cmdIn(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] in NODE COMMAND...")
	}
	err := ts.Exec("in-"+siteOf(ts).node(ts, args[0]), args[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("%s on %s: %v", args[1], args[0], err)
	}
}

// cmdLink has a node lose every packet, or no longer: link down|up NODE.
func cmdLink(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || args[0] != "down" && args[0] != "up" {
		ts.Fatalf("usage: link down|up NODE")
	}
	s := siteOf(ts)
	if node := s.node(ts, args[1]); args[0] == "down" {
		ts.Check(s.net.Down(node))
	} else {
		ts.Check(s.net.Up(node))
	}
}

// cmdDelay lays a second way between two nodes on which every packet takes so
// many milliseconds, each way: delay A B MS. It sets DELAY_A and DELAY_B to their
// addresses on it.
func cmdDelay(ts *testscript.TestScript, neg bool, args []string) {
	ms := 0
	if len(args) == 3 {
		ms, _ = strconv.Atoi(args[2])
	}
	if neg || ms <= 0 {
		ts.Fatalf("usage: delay NODE NODE MILLISECONDS")
	}
	s := siteOf(ts)
	a, b, err := s.net.Delay(s.node(ts, args[0]), s.node(ts, args[1]), time.Duration(ms)*time.Millisecond)
	ts.Check(err)
	ts.Setenv("DELAY_A", a)
	ts.Setenv("DELAY_B", b)
}

// cmdHide covers a folder with an empty one on a node: hide NODE PATH.
func cmdHide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hide NODE PATH")
	}
	s := siteOf(ts)
	ts.Check(s.net.Hide(s.node(ts, args[0]), ts.MkAbs(args[1])))
}

// cmdTmpfs mounts a small file system on a folder of a node: tmpfs NODE PATH
// SIZE [noexec], with SIZE in bytes, or with a k or m behind (1024, 1024²).
func cmdTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	noexec := len(args) == 4 && args[3] == "noexec"
	if neg || len(args) != 3 && !noexec {
		ts.Fatalf("usage: tmpfs NODE PATH SIZE[k|m] [noexec]")
	}
	number, unit := args[2], int64(1)
	for suffix, u := range map[string]int64{"k": 1 << 10, "m": 1 << 20} {
		if rest, ok := strings.CutSuffix(args[2], suffix); ok {
			number, unit = rest, u
		}
	}
	size, err := strconv.ParseInt(number, 10, 64)
	ts.Check(err)
	s := siteOf(ts)
	ts.Check(s.net.Tmpfs(s.node(ts, args[0]), ts.MkAbs(args[1]), size*unit, noexec))
}

// cmdUser makes a user on every node but the laptop: user NAME PASSWORD [SHELL].
// HOME_NAME is set to the user's home.
func cmdUser(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: user NAME PASSWORD [SHELL]")
	}
	s := siteOf(ts)
	s.node(ts, "login")
	shell := "/bin/sh"
	if len(args) == 3 {
		shell = args[2]
	}
	u, err := s.net.AddUser(args[0], args[1], shell)
	ts.Check(err)
	ts.Setenv("HOME_"+variable(args[0]), u.Home)
}

// variable makes a name one of an environment variable.
func variable(name string) string {
	return strings.ToUpper(regexp.MustCompile(`\W`).ReplaceAllString(name, "_"))
}

// cmdSSHD starts an OpenSSH server: sshd NAME NODE|- PORT [code=CODE] [LINE]...
// The node - is this machine, and port 0 is 22, or a free one on this machine.
// With a code, keyboard-interactive asks for it after the password. Lines are
// sshd_config's. SSHD_NAME is the folder with ssh_config (which calls the host
// NAME), id, known_hosts and sshd.out; SSHD_NAME_PORT the port.
func cmdSSHD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: sshd NAME NODE|- PORT [code=CODE] [CONFIGLINE]...")
	}
	s, o := siteOf(ts), testbed.SSHDOptions{Name: args[0], Lines: args[3:]}
	port, err := strconv.Atoi(args[2])
	ts.Check(err)
	o.Port = port
	if args[1] != "-" {
		o.Net, o.NS = s.net, s.node(ts, args[1])
	}
	if len(o.Lines) > 0 && strings.HasPrefix(o.Lines[0], "code=") {
		o.Code, o.Lines = o.Lines[0][len("code="):], o.Lines[1:]
	}
	dir := filepath.Join(ts.Getenv("WORK"), "sshd-"+args[0])
	server, err := testbed.StartSSHD(dir, o)
	ts.Check(err)
	ts.Defer(server.Stop)
	s.sshds[args[0]] = server
	s.ports[args[1]] = append(s.ports[args[1]], server.Port)
	ts.Setenv("SSHD_"+variable(args[0]), dir)
	ts.Setenv("SSHD_"+variable(args[0])+"_PORT", strconv.Itoa(server.Port))
}

// cmdRekey gives a server another host key, which known_hosts does not have:
// rekey NAME.
func cmdRekey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || siteOf(ts).sshds[args[0]] == nil {
		ts.Fatalf("usage: rekey NAME, of an sshd that the script has started")
	}
	ts.Check(siteOf(ts).sshds[args[0]].Rekey())
}

// cmdSlurmNet boots a Slurm on the network, before its sshds: slurmnet CPUS. Its
// commands are for the login and compute nodes.
func cmdSlurmNet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: slurmnet CPUS")
	}
	cpus, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := siteOf(ts)
	s.node(ts, "c1")
	if len(s.sshds) > 0 {
		ts.Fatalf("slurmnet comes before sshd, whose sessions would not find it")
	}
	dir := filepath.Join(ts.Getenv("WORK"), "slurm")
	slurm, err := testbed.StartSlurmOn(s.net, dir, cpus)
	ts.Check(err)
	ts.Defer(slurm.Stop)
	slurms.Store(dir, slurm) // for failnode
	for _, name := range s.net.Nodes() {
		s.ports[name] = append(s.ports[name], testbed.SlurmctldPort, testbed.SlurmdPort)
	}
}

// cmdNoListen waits until nothing listens on a TCP port of a node but the site's
// own sshd and Slurm: nolisten NODE. With ! something has to listen now.
func cmdNoListen(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] nolisten NODE")
	}
	s := siteOf(ts)
	node := s.node(ts, args[0])
	var left []int
	none := func() bool {
		ports, err := s.net.Listeners(node)
		ts.Check(err)
		left = slices.DeleteFunc(ports, func(p int) bool { return slices.Contains(s.ports[node], p) })
		return len(left) == 0
	}
	if ok := neg && none() || !neg && within(leaving, none); ok == neg {
		ts.Fatalf("listeners on %s: %v", node, left)
	}
}

// leaving is how long what ends may take to do so.
const leaving = 10 * time.Second

// within polls a condition for which the system has no event to wait on.
func within(d time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// cmdNoProc waits until no process of this machine has a command line, its words
// joined by spaces, that matches: noproc REGEXP. With ! one has to be there now.
// Scripts run side by side: the pattern should hold ${WORK@R}.
func cmdNoProc(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] noproc REGEXP")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	var left []string
	none := func() bool {
		left = testbed.Running(re)
		return len(left) == 0
	}
	if ok := neg && none() || !neg && within(leaving, none); ok == neg {
		ts.Fatalf("processes that match %s: %q", args[0], left)
	}
}

// cmdWatchArgs looks at all command lines from now on: watchargs START; and says
// what it has seen: [!] watchargs CHECK REGEXP fails if one has matched, with ! if
// none has.
func cmdWatchArgs(ts *testscript.TestScript, neg bool, args []string) {
	s := siteOf(ts)
	switch {
	case len(args) == 1 && args[0] == "START" && !neg && s.watch == nil:
		s.watch = testbed.WatchArgs()
		ts.Defer(s.watch.Stop)
	case len(args) == 2 && args[0] == "CHECK" && s.watch != nil:
		re, err := regexp.Compile(args[1])
		ts.Check(err)
		checkSeen(ts, neg, s.watch, re, args[1])
	default:
		ts.Fatalf("usage: watchargs START, and then [!] watchargs CHECK REGEXP")
	}
}

// checkSeen waits for what is to be seen: a busy machine may show it late.
func checkSeen(ts *testscript.TestScript, neg bool, w *testbed.ArgsWatch, re *regexp.Regexp, what string) {
	switch {
	case neg && !until(func() bool { return w.Seen(re) != "" }):
		ts.Fatalf("%s was on no command line", what)
	case !neg && w.Seen(re) != "":
		ts.Fatalf("%s on a command line: %q", what, w.Seen(re))
	}
}

// cmdNoSecret fails if the text of a join file, or the token in it, has been on a
// command line since watchargs START: [!] nosecret FILE.
func cmdNoSecret(ts *testscript.TestScript, neg bool, args []string) {
	s := siteOf(ts)
	if len(args) != 1 || s.watch == nil {
		ts.Fatalf("usage: watchargs START, and then [!] nosecret JOINFILE")
	}
	secrets, err := secretsOf(ts.ReadFile(args[0]))
	ts.Check(err)
	for i := range secrets {
		secrets[i] = regexp.QuoteMeta(secrets[i])
	}
	checkSeen(ts, neg, s.watch, regexp.MustCompile(strings.Join(secrets, "|")), "the secret of "+args[0])
}

// secretsOf takes a join string apart: the end of its text, in which the token is,
// and the token.
func secretsOf(join string) ([]string, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(join), "muster1:")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(text) < 40 {
		return nil, fmt.Errorf("this is no join string, but %d bytes", len(join))
	}
	var fields struct {
		Token string `json:"t"`
	}
	if err := json.Unmarshal(b, &fields); err != nil || fields.Token == "" {
		return nil, fmt.Errorf("the join string has no token: %v", err)
	}
	return []string{text[len(text)-32:], fields.Token}, nil
}
