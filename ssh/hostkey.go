package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/skeema/knownhosts"
	gossh "golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// keyring decides whether a host's key is to be trusted (sshd(8),
// SSH_KNOWN_HOSTS FILE FORMAT).
type keyring struct {
	h         *host
	db        *knownhosts.HostKeyDB
	address   string // HOST:PORT under which the key is known
	bare      string // the same with port 22, or ""
	acceptNew bool
	ask       Prompt
	log       hclog.Logger
	aside     func(func() error) error // lets no time pass while a person is asked
}

func newKeyring(h *host, o Options, aside func(func() error) error) (*keyring, error) {
	k := &keyring{h: h, acceptNew: o.AcceptNew, ask: o.Prompt, log: o.Log, aside: aside}
	// A HostKeyAlias stands for the port too (sshconnect.c,
	// get_hostfile_hostname_ipaddr). Names are kept in lower case.
	k.address = net.JoinHostPort(strings.ToLower(h.Host), strconv.Itoa(h.Port))
	switch {
	case h.keyAlias != "":
		k.address = net.JoinHostPort(strings.ToLower(h.keyAlias), "22")
	case h.Port != 22:
		k.bare = net.JoinHostPort(strings.ToLower(h.Host), "22")
	}
	var files []string
	for _, f := range h.knownHosts {
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, failf(ErrHostKey, h.Host, "read the keys of known hosts: %w", err)
	}
	k.db = db
	return k, nil
}

// algorithms returns the kinds of key to ask the server for: those by which it
// is known come first, so that it does not look changed for having others too.
// Certificates are asked for only where an authority for the host is known.
func (k *keyring) algorithms() []string {
	// OpenSSH prefers Ed25519 (myproposal.h), and so finds what we learnt.
	supported := append([]string{gossh.KeyAlgoED25519}, gossh.SupportedAlgorithms().HostKeys...)
	var list []string
	known := k.db.HostKeyAlgorithms(k.address)
	if k.bare != "" {
		known = append(known, k.db.HostKeyAlgorithms(k.bare)...)
	}
	for _, a := range known {
		if slices.Contains(supported, a) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, a := range supported {
		if !slices.Contains(list, a) && !strings.Contains(a, "-cert-") {
			list = append(list, a)
		}
	}
	return list
}

// check is called with the key that a server proved to have.
func (k *keyring) check(ctx context.Context, remote net.Addr, key gossh.PublicKey) error {
	err := k.trust(remote, key)
	if cert, ok := key.(*gossh.Certificate); ok && err != nil {
		k.log.Debug("the host's certificate is not trusted, its key may be", "host", k.h.Host, "error", err)
		if k.trust(remote, cert.Key) == nil {
			return nil
		}
		return failf(ErrHostKey, k.h.Host, "check the host key of %s: its certificate is not trusted: %w: ask its administrators", k.h.Host, err)
	}
	var revoked *xknownhosts.RevokedError
	var unknown *xknownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return failf(ErrHostKey, k.h.Host, "check the host key of %s: its key %s was revoked in %s:%d: somebody may pose as the host; do not log in, ask its administrators",
			k.h.Host, fingerprint(key), revoked.Revoked.Filename, revoked.Revoked.Line)
	case !errors.As(err, &unknown):
		return failf(ErrHostKey, k.h.Host, "check the host key of %s: %w", k.h.Host, err)
	}
	if old := k.plain(unknown.Want); len(old) > 0 {
		return k.changed(key, old)
	}
	return k.meet(ctx, remote, key)
}

// trust looks the key up. Who knows the host's key on port 22 knows it on all
// ports (sshconnect.c, "checking without port identifier").
func (k *keyring) trust(remote net.Addr, key gossh.PublicKey) error {
	lookup := k.db.HostKeyCallback()
	err := lookup(k.address, knownRemote(remote), key)
	var changed *xknownhosts.KeyError
	if err == nil || k.bare == "" || errors.As(err, &changed) && len(k.plain(changed.Want)) > 0 {
		return err
	}
	if lookup(k.bare, knownRemote(remote), key) == nil {
		return nil
	}
	return err
}

// knownRemote gives the known_hosts reader an address that it can take apart:
// what comes through a jump host has none.
func knownRemote(a net.Addr) net.Addr {
	if a != nil {
		if _, _, err := net.SplitHostPort(a.String()); err == nil {
			return a
		}
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}

// plain leaves the keys of authorities out: a host that has one may have a key
// of its own that is merely new.
func (k *keyring) plain(known []xknownhosts.KnownKey) []xknownhosts.KnownKey {
	return slices.DeleteFunc(slices.Clone(known), func(old xknownhosts.KnownKey) bool {
		return slices.ContainsFunc(k.db.HostKeys(k.address), func(p knownhosts.PublicKey) bool {
			return p.Cert && string(p.Marshal()) == string(old.Key.Marshal())
		})
	})
}

func (k *keyring) changed(key gossh.PublicKey, old []xknownhosts.KnownKey) error {
	var had []string
	for _, o := range old {
		had = append(had, fmt.Sprintf("%s in %s:%d", fingerprint(o.Key), o.Filename, o.Line))
	}
	slices.Sort(had)
	return failf(ErrHostKey, k.h.Host, "check the host key of %s: it changed: it was %s, now it is %s: was the machine installed anew, or its name given to another? "+
		"if not, somebody may be listening in; ask its administrators for the fingerprint, and only if it is the new one remove the old with: ssh-keygen -f %s -R %s",
		k.h.Host, strings.Join(had, " and "), fingerprint(key), old[0].Filename, "'"+xknownhosts.Normalize(k.address)+"'")
}

// meet decides about the key of a host that was never seen.
func (k *keyring) meet(ctx context.Context, remote net.Addr, key gossh.PublicKey) error {
	switch {
	case k.h.strict == "yes" && !k.acceptNew:
	case k.acceptNew || k.h.strict == "accept-new":
		return k.learn(key)
	case k.h.strict == "no":
		k.log.Warn("StrictHostKeyChecking no is taken as accept-new: a changed key is still refused", "host", k.h.Host)
		return k.learn(key)
	case k.ask != nil:
		if err := k.aside(func() error { return k.confirm(ctx, remote, key) }); err != nil {
			return err
		}
		return k.learn(key)
	}
	return failf(ErrHostKey, k.h.Host, "check the host key of %s: it is not known: its fingerprint is %s; "+
		"compare it with what the host's administrators publish, then log in once with: ssh %s, or let new keys be learnt (StrictHostKeyChecking accept-new)",
		k.h.Host, fingerprint(key), k.h.command())
}

// command returns the words after ssh that reach the host.
func (h *host) command() string {
	if h.alias != h.Host || h.Port == 22 {
		return h.User + "@" + h.alias
	}
	return fmt.Sprintf("-p %d %s@%s", h.Port, h.User, h.alias)
}

// confirm asks as OpenSSH does (sshconnect.c, check_host_key).
func (k *keyring) confirm(ctx context.Context, remote net.Addr, key gossh.PublicKey) error {
	name := xknownhosts.Normalize(k.address)
	text := fmt.Sprintf("The authenticity of host '%s (%s)' can't be established.\n%s.\n"+
		"Are you sure you want to continue connecting (yes/no/[fingerprint])? ", name, remote, fingerprintLine(key))
	const tries = 3
	for range tries {
		answer, err := k.ask(ctx, Question{Text: text, Echo: true})
		if err != nil {
			return failf(ErrHostKey, k.h.Host, "check the host key of %s: its fingerprint is %s, and nobody said whether that is right: %w",
				k.h.Host, fingerprint(key), err)
		}
		switch answer = strings.TrimSpace(answer); {
		case strings.EqualFold(answer, "yes"), answer == gossh.FingerprintSHA256(key):
			return nil
		case strings.EqualFold(answer, "no"):
			return failf(ErrHostKey, k.h.Host, "check the host key of %s: %s was not confirmed", k.h.Host, fingerprint(key))
		}
		text = "Please type 'yes', 'no' or the fingerprint: "
	}
	return failf(ErrHostKey, k.h.Host, "check the host key of %s: neither yes, no nor the fingerprint %s was typed", k.h.Host, fingerprint(key))
}

// learn writes the key into the first of the user's files, in one write: others
// may do the same at this moment.
func (k *keyring) learn(key gossh.PublicKey) error {
	if k.h.userFiles == 0 {
		return nil
	}
	file := k.h.knownHosts[0]
	name := xknownhosts.Normalize(k.address)
	if k.h.hashKnown {
		name = xknownhosts.HashHostname(name)
	}
	line := name + " " + strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))) + "\n"
	if err := appendLine(file, line); err != nil {
		return failf(ErrHostKey, k.h.Host, "remember the host key of %s: %w", k.h.Host, err)
	}
	k.log.Info("learnt the key of a new host", "host", k.h.Host, "key", fingerprint(key), "file", file)
	return nil
}

// appendLine adds a line to a file, which it makes with mode 0600. A last line
// without its end is ended first.
func appendLine(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if st, err := f.Stat(); err == nil && st.Mode()&fs.ModeType == 0 && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = io.WriteString(f, line)
	return errors.Join(err, f.Close())
}

// fingerprint returns a key's kind and fingerprint, ED25519 SHA256:...
func fingerprint(key gossh.PublicKey) string {
	return keyKind(key) + " " + gossh.FingerprintSHA256(key)
}

func fingerprintLine(key gossh.PublicKey) string {
	return keyKind(key) + " key fingerprint is " + gossh.FingerprintSHA256(key)
}

// keyKind names a kind of key as OpenSSH does.
func keyKind(key gossh.PublicKey) string {
	switch t := key.Type(); {
	case strings.Contains(t, "ed25519"):
		return "ED25519"
	case strings.Contains(t, "ecdsa"):
		return "ECDSA"
	case strings.Contains(t, "rsa"):
		return "RSA"
	default:
		return t
	}
}
