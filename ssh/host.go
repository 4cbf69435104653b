package ssh

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// host is one machine on the way, with all that ssh_config says about it.
type host struct {
	Target               // user, real name and port, all filled in
	alias         string // the name asked for
	keyAlias      string // HostKeyAlias
	jump          []Target
	jumpNone      bool          // ProxyJump none
	network       string        // tcp, tcp4 or tcp6
	timeout       time.Duration // of TCP and key exchange
	aliveInterval time.Duration
	aliveMax      int

	knownHosts  []string // the user's files first; new keys go into the first
	userFiles   int      // how many of them are the user's
	strict      string   // yes, ask, accept-new or no
	hashKnown   bool
	identities  []string // key files
	defaultKeys bool     // identities are OpenSSH's defaults and need not exist
	certs       []string
	onlyThese   bool   // IdentitiesOnly
	agent       string // socket, or ""
	methods     []string
	prompts     int // how often a person is asked for one password
}

// keyName is the name under which the host's key is known.
func (h *host) keyName() string {
	if h.keyAlias != "" {
		return h.keyAlias
	}
	return h.Host
}

// Ways to log in, in OpenSSH's order of preference without those that need
// libraries of the machine (ssh_config(5), PreferredAuthentications).
const (
	publicKey = "publickey"
	keyboard  = "keyboard-interactive"
	password  = "password"
)

// book looks hosts up in ssh_config.
type book struct {
	o         Options
	home      string
	localUser string
}

func newBook(o Options) (*book, error) {
	b := &book{o: o, home: o.Getenv("HOME"), localUser: o.Getenv("USER")}
	if b.home != "" && b.localUser != "" {
		return b, nil
	}
	u, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("find the user's name and home: %w: set HOME and USER", err)
	}
	if b.home == "" {
		b.home = u.HomeDir
	}
	if b.localUser == "" {
		b.localUser = u.Username
	}
	return b, nil
}

// maxHops bounds a chain of jump hosts, which may name one another.
const maxHops = 16

// route returns the hosts to pass through and the target, which comes last.
// The first of several jump hosts has jump hosts of its own if ssh_config says
// so, as with ssh -J.
func (b *book) route(t Target, jump []Target) ([]*host, error) {
	var way []*host
	for {
		h, err := b.find(t, jump != nil)
		if err != nil {
			return nil, err
		}
		way = append(way, h)
		if jump == nil && !h.jumpNone && !slices.Equal(h.jump, []Target{t}) {
			jump = h.jump
		}
		if len(jump) == 0 {
			slices.Reverse(way)
			return way, nil
		}
		if len(way) > maxHops {
			return nil, fmt.Errorf("log in to %s: ProxyJump leads through more than %d hosts: is there a loop?", b.o.Target.Host, maxHops)
		}
		t = jump[len(jump)-1]
		if jump = jump[:len(jump)-1]; len(jump) == 0 {
			jump = nil
		}
	}
}

// find looks one host up. jumping says that the way to it is given already.
func (b *book) find(t Target, jumping bool) (*host, error) {
	r := &reader{target: t, localUser: b.localUser, home: b.home, log: b.o.Log, values: map[string][]setting{}}
	if err := r.read(b.o.Config); err != nil {
		return nil, err
	}
	if v := r.values["proxycommand"]; len(v) > 0 && !jumping && !strings.EqualFold(v[0].args[0], "none") {
		return nil, fmt.Errorf(`%s: ProxyCommand for %s needs ssh itself: choose client = "openssh", or use ProxyJump`, v[0], t.Host)
	}
	b.warn(r, t)
	f := &filler{r: r, h: &host{Target: t, alias: t.Host}, getenv: b.o.Getenv}
	f.place()
	f.timing(b.o.Timeout)
	f.hostKeys()
	f.keys()
	f.login()
	if f.err != nil {
		return nil, f.err
	}
	if err := f.h.check(); err != nil {
		return nil, fmt.Errorf("log in to %s: %w", t.Host, err)
	}
	return f.h, nil
}

// ignored are settings whose absence a user may notice. Others that are not
// read concern forwarding, terminals or the choice of ciphers.
var ignored = []string{"bindaddress", "bindinterface", "canonicalizehostname", "knownhostscommand", "pkcs11provider", "securitykeyprovider"}

func (b *book) warn(r *reader, t Target) {
	for _, key := range ignored {
		if v := r.first(key, "no"); v != "no" && v != "none" {
			b.o.Log.Warn(`ssh_config has a setting that only client = "openssh" follows`, "setting", key, "at", r.values[key][0].String(), "host", t.Host)
		}
	}
}

// filler turns values of ssh_config into a host and keeps the first error.
type filler struct {
	r      *reader
	h      *host
	getenv func(string) string
	err    error
}

func (f *filler) fail(key, format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %s: %w", f.r.values[key][0], key, fmt.Errorf(format, args...))
	}
}

func (f *filler) place() {
	h := f.h
	if h.User == "" {
		h.User = f.r.first("user", f.r.localUser)
	}
	if h.Port == 0 {
		h.Port = f.number("port", 22, 65535)
	}
	if name := f.r.first("hostname", ""); name != "" {
		h.Host = f.expand("hostname", name, map[byte]string{'h': h.alias})
	}
	h.network = map[string]string{"inet": "tcp4", "inet6": "tcp6"}[strings.ToLower(f.r.first("addressfamily", ""))]
	if h.network == "" {
		h.network = "tcp"
	}
	f.proxyJump(f.r.first("proxyjump", ""))
}

func (f *filler) proxyJump(list string) {
	if f.h.jumpNone = strings.EqualFold(list, "none"); f.h.jumpNone || list == "" {
		return
	}
	for _, place := range strings.Split(list, ",") {
		place = f.expand("proxyjump", strings.TrimSuffix(strings.TrimPrefix(place, scheme), "/"), f.tokens())
		t, err := parsePlace(place)
		if err != nil {
			f.fail("proxyjump", "%w", err)
			return
		}
		f.h.jump = append(f.h.jump, t)
	}
}

func (f *filler) timing(timeout time.Duration) {
	f.h.timeout = timeout
	if timeout == 0 {
		f.h.timeout = f.duration("connecttimeout", defaultTimeout)
	}
	f.h.aliveInterval = f.duration("serveraliveinterval", aliveInterval)
	f.h.aliveMax = f.number("serveralivecountmax", aliveMax, 1000)
}

func (f *filler) hostKeys() {
	h := f.h
	h.keyAlias = f.r.first("hostkeyalias", "")
	ssh := filepath.Join(f.r.home, ".ssh")
	h.knownHosts = f.paths("userknownhostsfile", filepath.Join(ssh, "known_hosts"), filepath.Join(ssh, "known_hosts2"))
	h.userFiles = len(h.knownHosts)
	h.knownHosts = append(h.knownHosts, f.paths("globalknownhostsfile", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")...)
	h.hashKnown = f.yes("hashknownhosts", false)
	switch v := strings.ToLower(f.r.first("stricthostkeychecking", "ask")); v {
	case "yes", "ask", "accept-new", "no":
		h.strict = v
	case "off", "false":
		h.strict = "no"
	case "true":
		h.strict = "yes"
	default:
		f.fail("stricthostkeychecking", "unknown value %q", v)
	}
}

func (f *filler) keys() {
	h := f.h
	h.onlyThese = f.yes("identitiesonly", false)
	for _, s := range f.r.values["identityfile"] {
		h.identities = append(h.identities, f.path("identityfile", s.args[0])...)
	}
	if len(f.r.values["identityfile"]) == 0 {
		h.defaultKeys = true
		for _, name := range []string{"id_rsa", "id_ecdsa", "id_ed25519"} { // OpenSSH's order, readconf.c
			h.identities = append(h.identities, filepath.Join(f.r.home, ".ssh", name))
		}
	}
	for _, s := range f.r.values["certificatefile"] {
		h.certs = append(h.certs, f.path("certificatefile", s.args[0])...)
	}
	switch v := f.r.first("identityagent", "SSH_AUTH_SOCK"); {
	case v == "none":
	case v == "SSH_AUTH_SOCK":
		h.agent = f.getenv("SSH_AUTH_SOCK")
	case v[:min(1, len(v))] == "$" && !strings.HasPrefix(v, "${"):
		h.agent = f.getenv(v[1:])
	default:
		h.agent = strings.Join(f.path("identityagent", v), "")
	}
}

func (f *filler) login() {
	h := f.h
	h.prompts = f.number("numberofpasswordprompts", 3, 100)
	wanted := f.r.first("preferredauthentications", publicKey+","+keyboard+","+password)
	allowed := map[string]bool{
		publicKey: f.yes("pubkeyauthentication", true),
		keyboard:  f.yes("kbdinteractiveauthentication", f.yes("challengeresponseauthentication", true)),
		password:  f.yes("passwordauthentication", true),
	}
	for _, m := range strings.Split(wanted, ",") {
		if allowed[m] && !slices.Contains(h.methods, m) {
			h.methods = append(h.methods, m)
		}
	}
	if len(h.methods) == 0 && f.err == nil {
		f.err = fmt.Errorf(`log in to %s: ssh_config allows none of %s, %s and %s for it, and the native client has no others: choose client = "openssh"`,
			h.alias, publicKey, keyboard, password)
	}
}
