package ssh

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// says is a sentence of OpenSSH's client, or a part of it, and what it means.
// The first that is found decides, so what is told of a jump host comes before
// what follows from it.
var says = []struct {
	text string
	kind error
}{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", ErrHostKey}, // sshconnect.c
	{"REVOKED HOST KEY DETECTED", ErrHostKey},
	{"Host key verification failed", ErrHostKey},
	{"Could not resolve hostname", ErrResolve},           // sshconnect.c, ssh_resolve
	{"administratively prohibited", ErrForward},          // channels.c, of a jump host
	{"Permission denied (", ErrAuth},                     // sshconnect2.c
	{"Too many authentication failures", ErrAuth},        // auth.c
	{"No more authentication methods to try", ErrAuth},   // sshconnect2.c
	{"open failed: connect failed", ErrConnect},          // channels.c, of a jump host
	{"stdio forwarding failed", ErrForward},              // ssh.c, of a jump host
	{"Bad configuration option", nil},                    // readconf.c
	{"bad configuration options", nil},                   // readconf.c
	{"Not allowed at this time", ErrConnect},             // sshd.c, PerSourcePenalties
	{"kex_exchange_identification", ErrConnect},          // kex.c
	{"Unable to negotiate with", ErrConnect},             // packet.c
	{"ssh: connect to host", ErrConnect},                 // sshconnect.c
	{"Connection timed out during banner", ErrConnect},   // kex.c
	{"Connection closed by", ErrConnect},                 // packet.c
	{"Connection reset by", ErrConnect},                  // packet.c
	{"Connection to UNKNOWN port 65535 tim", ErrConnect}, // packet.c
}

// meaning returns the kind of error that ssh reports, nil for a mistake in its
// configuration.
func meaning(words string) error {
	for _, s := range says {
		switch {
		case !strings.Contains(words, s.text):
		case s.kind == ErrConnect && isNameError(words):
			return ErrResolve
		default:
			return s.kind
		}
	}
	return ErrConnect
}

// failure says why there was no login, by what ssh said.
func (m *master) failure() error { return m.fail(meaning(m.words()), m.words()) }

func (m *master) fail(kind error, words string) error {
	said := lastWords(words)
	switch kind {
	case nil:
		return fmt.Errorf("log in to %s: ssh does not understand its configuration: %s", m.host, said)
	case ErrHostKey:
		return m.hostKeyFailure(words, said)
	case ErrResolve:
		return failf(kind, m.host, "find the address of %s: %s: is the name right, and does this machine reach a name server?", m.host, said)
	case ErrForward:
		return failf(kind, m.host, "reach %s: its jump host does not pass connections on (%s): ask for AllowTcpForwarding and PermitOpen in its sshd_config", m.host, said)
	case ErrAuth:
		return failf(kind, m.host, "log in to %s: the server refused what ssh tried: %s: see what it tries with: ssh -v %s", m.host, said, m.host)
	}
	if penalty(words) {
		said = "it accepts nothing from this address for some time, as after failed logins (PerSourcePenalties): wait some minutes"
	}
	return failf(kind, m.host, "reach %s: %s", m.host, said)
}

// penalty reports whether a server shuts us out for what it has seen of our
// address (sshd.c in OpenSSH 9.8 and later).
func penalty(words string) bool { return strings.Contains(words, "Not allowed at this time") }

var (
	offending = regexp.MustCompile(`(?m)^Offending \S+(?: host)?(?: CA)?(?: cert)? key in (.+):(\d+)\r?$`)
	shown     = regexp.MustCompile(`(?m)^debug1: Server host (?:key|certificate): \S+ (SHA256:[A-Za-z0-9+/]{43})`)
)

// hostKeyFailure repeats what ssh says in a page: which key, where the old one
// is, and what to do.
func (m *master) hostKeyFailure(words, said string) error {
	now := "not known"
	if keys := shown.FindAllStringSubmatch(words, -1); len(keys) > 0 {
		now = keys[len(keys)-1][1] // jump hosts come before the one that failed
	}
	switch at := offending.FindStringSubmatch(words); {
	case strings.Contains(words, "REVOKED HOST KEY"):
		return failf(ErrHostKey, m.host, "check the host key of %s: its key %s was revoked: somebody may pose as the host; do not log in, ask its administrators", m.host, now)
	case at != nil && strings.Contains(words, "HAS CHANGED"):
		return failf(ErrHostKey, m.host, "check the host key of %s: it changed: it was %s in %s:%s, now it is %s: was the machine installed anew, or its name given to another? "+
			"if not, somebody may be listening in; ask its administrators for the fingerprint, and only if it is the new one remove the old with: ssh-keygen -f %s -R %s",
			m.host, keyAt(at[1], at[2]), at[1], at[2], now, at[1], m.host)
	}
	return failf(ErrHostKey, m.host, "check the host key of %s: it is not known: its fingerprint is %s: %s; compare it with what the host's administrators publish, "+
		"then log in once with: ssh %s, or let new keys be learnt (StrictHostKeyChecking accept-new)", m.host, now, said, m.host)
}

// keyAt returns the fingerprint of the key in one line of a known_hosts file.
func keyAt(file, line string) string {
	n, err := strconv.Atoi(line)
	f, openErr := os.Open(file)
	if err != nil || openErr != nil {
		return "another"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for i := 0; i < n; i++ {
		if !lines.Scan() {
			return "another"
		}
	}
	_, _, key, _, _, err := gossh.ParseKnownHosts(lines.Bytes())
	if err != nil {
		return "another"
	}
	return fingerprint(key)
}

// dropped reports whether the server let go of a connection before it had shown
// its key, as one with many logins under way does.
func (m *master) dropped() bool {
	words := m.words()
	answered := strings.Contains(words, bannerLine) && !strings.Contains(words, "Exceeded MaxStartups")
	if answered || meaning(words) != ErrConnect || strings.Contains(words, "open failed") {
		return false
	}
	for _, t := range []string{"kex_exchange_identification: Connection closed", "kex_exchange_identification: read: Connection reset",
		"ssh_exchange_identification: Connection closed", "ssh_exchange_identification: read: Connection reset", "Exceeded MaxStartups"} {
		if strings.Contains(words, t) {
			return true
		}
	}
	return false
}
