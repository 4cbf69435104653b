package tls

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Settings are what the tls block of a profile says.
type Settings struct {
	Cert       Text   `json:"cert"` // may hold the key, and what signs it, too
	Key        Text   `json:"key"`
	Passphrase Secret `json:"passphrase,omitempty"`
	Chain      Text   `json:"chain"`
	ChainPath  string `json:"chain_path,omitempty"` // on the workers' machines
	CRL        Text   `json:"crl"`
	CRLPath    string `json:"crl_path,omitempty"` // on the workers' machines
	Name       string `json:"name"`               // that the certificate has to be for
}

// Stable returns the settings without the texts of files, which may be renewed.
func (s *Settings) Stable() *Settings {
	if s == nil {
		return nil
	}
	c := *s
	for _, t := range []*Text{&c.Cert, &c.Key, &c.Chain, &c.CRL} {
		if t.Path != "" {
			t.Text = ""
		}
	}
	return &c
}

// Encrypted reports whether the key needs a passphrase.
func (s *Settings) Encrypted() bool {
	b := keyBlock(s.keyText().Text)
	return b != nil && isEncrypted(b)
}

// HasKey reports whether there is a key.
func (s *Settings) HasKey() bool { return keyBlock(s.keyText().Text) != nil }

// keyText is the text that holds the key.
func (s *Settings) keyText() Text {
	if s.Key.Text == "" {
		return s.Cert
	}
	return s.Key
}

// Certificate is a profile's certificate with its key, as the dispatcher shows it. It
// is safe for concurrent use.
type Certificate struct {
	say func(format string, args ...any)

	mu       sync.Mutex // guards all below
	settings Settings
	seen     []stamp // of the files, when they were last read
	now      *loaded
}

// loaded is what the settings come to at some time.
type loaded struct {
	shown     tls.Certificate
	authority Authority
}

// LoadCertificate checks a profile's settings as its workers would, and more. When a
// file changes that a text was, the next handshake has the new one; say is told when
// that cannot be used, and the old one is shown until it can.
func LoadCertificate(s Settings, say func(format string, args ...any)) (*Certificate, error) {
	c := &Certificate{settings: s, say: say, seen: s.stamps()}
	var err error
	c.now, err = s.load(time.Now())
	return c, err
}

// Check says what is wrong with the settings. Without the key, which may not be known
// yet, all else is checked.
func (s Settings) Check(withKey bool) error {
	c, err := s.check(time.Now(), withKey)
	if err == nil {
		_, err = s.authority(c)
	}
	return err
}

// checked is what is known of settings that are right.
type checked struct {
	certs []*x509.Certificate
	key   crypto.Signer // nil if it was not looked at
	by    judge
}

func (s *Settings) check(now time.Time, withKey bool) (c checked, err error) {
	switch {
	case s.Cert.Text == "" && s.Key.Text != "":
		return c, errors.New("there is a key and no cert: cert = file(\"host.pem\")")
	case s.Cert.Text == "":
		return c, errors.New("there is no cert, which the other settings of the block are about: cert = file(\"host.pem\")")
	case s.Chain.Text != "" && s.ChainPath != "":
		return c, errors.New("there are chain and chain_path: chain travels with the join string, chain_path names a file on the workers' machines; keep one of them")
	case s.CRL.Text != "" && s.CRLPath != "":
		return c, errors.New("there are crl and crl_path: crl travels with the join string, crl_path names a file on the workers' machines; keep one of them")
	case s.Chain.Text == "" && s.ChainPath == "" && (s.CRL.Text != "" || s.CRLPath != ""):
		return c, errors.New("there is a revocation list and no chain: workers who do not judge by a chain pin a key, and look at no list; give chain or chain_path too")
	}
	for _, p := range []struct{ what, path string }{{"chain_path", s.ChainPath}, {"crl_path", s.CRLPath}} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			return c, fmt.Errorf("%s is %q, and has to begin with /: workers start in any folder", p.what, p.path)
		}
	}
	if err := cmp.Or(guardTrust("chain", s.Chain), guardTrust("crl", s.CRL)); err != nil {
		return c, err
	}
	if c.certs, err = parseCertificates("cert", s.Cert); err != nil {
		return c, err
	}
	if withKey {
		if c.key, err = s.loadKey(c.certs); err != nil {
			return c, err
		}
	}
	c.by = judge{name: s.Name, now: now}
	if err := c.by.dates(c.certs[0]); err != nil {
		return c, fmt.Errorf("%w; this machine's clock says %s", err, date(now))
	}
	if s.Name == "" {
		return c, fmt.Errorf("it is not known which name workers are to look for: name in the tls block says so, or url in the profile has a host; the certificate is for %v", namesOf(c.certs[0]))
	}
	if err := verifyName(c.certs[0], s.Name); err != nil {
		return c, err
	}
	if s.Chain.Text != "" {
		chain, err := parseCertificates("chain", s.Chain)
		if err != nil {
			return c, err
		}
		if c.by.anchors, c.by.others = split(chain); len(c.by.anchors) == 0 {
			return c, fmt.Errorf("%s holds no certificate of a CA: it ends with that of the CA which workers are to trust", s.Chain.named("chain"))
		}
	}
	if s.CRL.Text != "" {
		if c.by.revoked, err = parseRevoked("crl", s.CRL); err != nil {
			return c, err
		}
	}
	if len(c.by.anchors) > 0 {
		return c, c.by.verify(c.certs)
	}
	return c, nil
}

// loadKey reads the key, which has to be that of the first certificate.
func (s *Settings) loadKey(certs []*x509.Certificate) (crypto.Signer, error) {
	text := s.keyText()
	if s.Key.Text == "" && keyBlock(text.Text) == nil {
		return nil, fmt.Errorf("there is no key: key = file(\"host.key\"), or cert holds it behind the certificate")
	}
	key, err := parseKey(text, s.Passphrase)
	if err == nil || errors.Is(err, ErrPassphrase) {
		err = cmp.Or(guardKey(text.Path), err)
	}
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("%s cannot be compared", text.named("key"))
	}
	i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	switch {
	case i < 0:
		return nil, fmt.Errorf("%s is not that of %s, which is for another key: `openssl pkey -pubout -in KEY` and `openssl x509 -pubkey -noout -in CERT` print the same if they belong together", text.named("key"), s.Cert.named("cert"))
	case i > 0:
		return nil, fmt.Errorf("%s has its certificates in the wrong order: the key is that of number %d, %s: put that first, then what signed it", s.Cert.named("cert"), i+1, called(certs[i]))
	}
	return key, nil
}

// maxAuthority bounds what CA mode adds to a join string, in bytes: addresses need room
// too.
const maxAuthority = maxJoin - 4<<10

func (s *Settings) load(now time.Time) (*loaded, error) {
	c, err := s.check(now, true)
	if err != nil {
		return nil, err
	}
	l := &loaded{shown: tls.Certificate{PrivateKey: c.key, Leaf: c.certs[0]}}
	// What leads to the CA is shown, so that workers need the CA alone.
	for _, one := range append(c.certs, c.by.others...) {
		if !slices.ContainsFunc(l.shown.Certificate, func(der []byte) bool { return slices.Equal(der, one.Raw) }) {
			l.shown.Certificate = append(l.shown.Certificate, one.Raw)
		}
	}
	l.authority, err = s.authority(c)
	return l, err
}

// authority is what join strings have of settings that are right.
func (s *Settings) authority(c checked) (Authority, error) {
	a := Authority{Name: s.Name, CAFile: s.ChainPath, CRLFile: s.CRLPath}
	for _, one := range c.by.anchors {
		a.CAs = append(a.CAs, one.Raw)
	}
	for _, one := range c.by.revoked {
		a.CRLs = append(a.CRLs, one.Raw)
	}
	if n := a.size(); n > maxAuthority {
		return a, fmt.Errorf("chain and crl add %d bytes to a join string, and %d are possible: put them on the workers' machines, and name them by chain_path and crl_path", n, maxAuthority)
	}
	return a, nil
}

// size is how many bytes the authority adds to a join string.
func (a Authority) size() int {
	a.MadeUnix = time.Now().Unix()
	return len(Join{Authority: &a}.Encode()) - len(Join{}.Encode())
}

// Authority returns by what workers know the dispatcher, of the profile that is called
// server.
func (c *Certificate) Authority(server string) *Authority {
	a := c.current().authority
	a.Server, a.MadeUnix = server, time.Now().Unix()
	return &a
}

// JoinBytes is how many bytes CA mode adds to a join string.
func (c *Certificate) JoinBytes() int { return c.current().authority.size() }

// current is what is to be shown now.
func (c *Certificate) current() *loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.settings.stamps()
	if slices.Equal(seen, c.seen) {
		return c.now
	}
	c.seen = seen
	s := c.settings
	err := s.reread()
	var l *loaded
	if err == nil {
		l, err = s.load(time.Now())
	}
	if err != nil {
		c.say("the tls block's files have changed and cannot be used; the certificate that was there before is shown: %v", err)
		return c.now
	}
	c.settings, c.now = s, l
	return l
}

// stamp tells a file from what it was before. What is refused for who can read it is
// another file to it when that has been mended.
type stamp struct {
	inode       uint64
	size, mtime int64
	mode        fs.FileMode
	user, group uint32
}

func (s *Settings) files() []*Text {
	var list []*Text
	for _, t := range []*Text{&s.Cert, &s.Key, &s.Chain, &s.CRL} {
		if t.Path != "" {
			list = append(list, t)
		}
	}
	return list
}

func (s *Settings) stamps() []stamp {
	var list []stamp
	for _, t := range s.files() {
		var one stamp
		if st, err := os.Stat(t.Path); err == nil {
			one = stamp{size: st.Size(), mtime: st.ModTime().UnixNano(), mode: st.Mode()}
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				one.inode, one.user, one.group = uint64(sys.Ino), sys.Uid, sys.Gid
			}
		}
		list = append(list, one)
	}
	return list
}

func (s *Settings) reread() error {
	for _, t := range s.files() {
		var err error
		if *t, err = readPEM("the file", t.Path); err != nil {
			return err
		}
	}
	return nil
}
