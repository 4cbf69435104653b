package ssh

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// Target is a place to log in.
type Target struct {
	User string // "" means ssh_config's, or the local user's name
	Host string // a name, an alias of ssh_config, or an address without brackets
	Port int    // 0 means ssh_config's, or 22
}

const (
	scheme = "ssh://"
	// maxTarget is far above a DNS name (253 bytes) and a user name (32 on
	// Linux, more elsewhere).
	maxTarget = 1024
)

// ParseTarget reads ssh://[user@]host[:port]. The host may be an alias of
// ssh_config; an IPv6 address stands in brackets.
func ParseTarget(s string) (Target, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return Target{}, fmt.Errorf("%q is not of the form ssh://[user@]host[:port]", clip(s))
	}
	if len(s) > maxTarget {
		return Target{}, fmt.Errorf("%q is longer than %d bytes", clip(s), maxTarget)
	}
	t, err := parsePlace(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", redact(s), err)
	}
	return t, nil
}

// parsePlace reads [user@]host[:port], which ProxyJump has too.
func parsePlace(s string) (Target, error) {
	var t Target
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		t.User, s = s[:i], s[i+1:]
		switch {
		case t.User == "":
			return Target{}, errors.New("the user before @ is missing")
		case strings.Contains(t.User, ":"):
			return Target{}, errors.New("a password in the address could be read by others: leave it out, you will be asked")
		}
	}
	host, port, err := splitPort(s)
	if err != nil {
		return Target{}, err
	}
	t.Host, t.Port = host, port
	return t, t.check()
}

// splitPort takes host[:port] apart; the port is 0 if there is none.
func splitPort(s string) (host string, port int, err error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		addr, after, closed := strings.Cut(inner, "]")
		if !closed || !strings.Contains(addr, ":") {
			return "", 0, errors.New("brackets are for an IPv6 address, as in [::1]")
		}
		if after == "" {
			return addr, 0, nil
		}
		digits, colon := strings.CutPrefix(after, ":")
		if !colon {
			return "", 0, fmt.Errorf("%q after the address is not a port", after)
		}
		port, err = parsePort(digits)
		return addr, port, err
	}
	host, digits, colon := strings.Cut(s, ":")
	if !colon {
		return host, 0, nil
	}
	if strings.Contains(digits, ":") {
		return "", 0, errors.New("an IPv6 address needs brackets, as in [::1]")
	}
	port, err = parsePort(digits)
	return host, port, err
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("the port %q is not a number from 1 to 65535", s)
	}
	return int(n), nil
}

// String returns the form that ParseTarget reads.
func (t Target) String() string { return scheme + t.place() }

// place returns [user@]host[:port], as ssh's -J has it.
func (t Target) place() string {
	s := t.Host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if t.Port != 0 {
		s += ":" + strconv.Itoa(t.Port)
	}
	if t.User != "" {
		s = t.User + "@" + s
	}
	return s
}

// address returns HOST:PORT for net.Dial.
func (t Target) address() string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

// check refuses what a command line or a shell could take for something else.
// OpenSSH has the same rules (ssh.c, valid_hostname and valid_ruser).
func (t Target) check() error {
	switch {
	case t.Host == "":
		return errors.New("the host is missing")
	case t.Host[0] == '-' || t.User != "" && t.User[0] == '-':
		return errors.New("neither host nor user may begin with -")
	case strings.ContainsFunc(t.Host, badInHost):
		return fmt.Errorf("the host %q has characters that no host name has; paths and queries do not belong here", clip(t.Host))
	case strings.ContainsFunc(t.User, badInUser) || strings.HasSuffix(t.User, `\`):
		return fmt.Errorf("the user %q has characters that no user name has", clip(t.User))
	case t.Port < 0 || t.Port > 65535:
		return fmt.Errorf("the port %d is not a number from 1 to 65535", t.Port)
	}
	return nil
}

func badInHost(r rune) bool {
	return r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) ||
		strings.ContainsRune("'`\"$\\;&<>|(){}/?#@,*![]", r)
}

func badInUser(r rune) bool {
	return r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) ||
		strings.ContainsRune("'`\"$;&<>|(){}/?#:@,*!", r)
}

// clip shortens what is quoted in an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// redact hides what may be a password in an address.
func redact(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < len(scheme) {
		return clip(s)
	}
	if user, _, ok := strings.Cut(s[len(scheme):at], ":"); ok {
		return clip(scheme + user + ":..." + s[at:])
	}
	return clip(s)
}
