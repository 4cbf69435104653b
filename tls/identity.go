// Package tls is identity and trust between dispatcher and workers: the
// dispatcher's key and its pin, join tokens and how they are proved, and the
// TLS 1.3 connections on which all that happens. Others import it as mtls.
package tls

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Pin is the SHA-256 of a certificate's RawSubjectPublicKeyInfo. Who knows it
// needs no name, address or date to recognise the key's owner.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// String returns the text form, sha256: and unpadded base64url.
func (p Pin) String() string { return pinPrefix + base64.RawURLEncoding.EncodeToString(p[:]) }

// ParsePin reads the text form.
func ParsePin(s string) (Pin, error) {
	var p Pin
	text, ok := strings.CutPrefix(s, pinPrefix)
	b, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != len(p) {
		return p, errors.New("a pin is sha256: and 43 characters of base64url")
	}
	copy(p[:], b)
	return p, nil
}

func pinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// Identity is a dispatcher's private key and self-signed certificate, and the
// certificates that its profiles have of a CA.
type Identity struct {
	server *tls.Config // of all connections, none of which changes it
	pin    Pin

	mu    sync.Mutex // guards shown
	shown map[string]*Certificate
}

func newIdentity(cert tls.Certificate, leaf *x509.Certificate) *Identity {
	id := &Identity{pin: pinOf(leaf), shown: map[string]*Certificate{}}
	id.server = &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{cert}, GetCertificate: id.certificate}
	return id
}

// Show has workers that ask for the profile server see c instead of the identity's own
// certificate; nil ends that.
func (id *Identity) Show(server string, c *Certificate) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.shown[server] = c; c == nil {
		delete(id.shown, server)
	}
}

// certificate is what a worker in CA mode gets to see. Without one of its profile it is
// nil, and the worker sees the identity's own, by which it knows that.
func (id *Identity) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	id.mu.Lock()
	c := id.shown[strings.TrimSuffix(hello.ServerName, serverSuffix)]
	id.mu.Unlock()
	if c == nil {
		return nil, nil
	}
	return &c.current().shown, nil
}

// Pin returns the pin of the identity's key.
func (id *Identity) Pin() Pin { return id.pin }

// NewIdentity returns the identity of a certificate and key that somebody else
// made.
func NewIdentity(cert tls.Certificate) (*Identity, error) {
	if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
		return nil, errors.New("the certificate has no key, or is none")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return newIdentity(cert, leaf), nil
}

// maxIdentity bounds the file of an identity, in bytes.
const maxIdentity = 64 << 10

// IdentityFile is the name of the file that LoadOrCreate keeps an identity in.
const IdentityFile = "identity.pem"

// LoadOrCreate returns the identity kept in dir, making both on first use. Key
// and certificate are one file, put in place by link(2): of two processes that
// make one at once, both end with the same.
func LoadOrCreate(dir string) (*Identity, error) {
	path := filepath.Join(dir, IdentityFile)
	id, err := load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the dispatcher's identity: %w", err)
	}
	text, err := generate(time.Now())
	if err != nil {
		return nil, fmt.Errorf("make the dispatcher's identity: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "."+IdentityFile+"-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the dispatcher's identity: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Link(tmp.Name(), path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the dispatcher's identity: %w", err)
	}
	return load(path)
}

func load(path string) (*Identity, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("read the dispatcher's identity: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIdentity))
	if err != nil {
		return nil, fmt.Errorf("read the dispatcher's identity: %w", err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("read the dispatcher's identity: %s: %w; remove it to get a new one", path, err)
	}
	return newIdentity(cert, cert.Leaf), nil
}

// generate makes the identity's key and certificate. That is valid from ten years ago,
// since compute nodes' clocks may be anywhere.
func generate(now time.Time) ([]byte, error) {
	cert, key, err := selfSigned(pkix.Name{CommonName: "muster dispatcher"}, []string{"muster"}, now.AddDate(-10, 0, 0), now.AddDate(30, 0, 0))
	return append(cert, key...), err
}

// Conn is a TLS 1.3 connection whose handshake is done.
type Conn struct{ *tls.Conn }

var _ net.Conn = (*Conn)(nil)

// handshakeTimeout bounds a handshake whatever its context allows: a peer that
// says nothing must not be waited for.
const handshakeTimeout = 10 * time.Second

// shake does the handshake. crypto/tls interrupts it when ctx is done.
func shake(ctx context.Context, c *tls.Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return &Conn{c}, nil
}

// Server shakes hands with a worker on raw, within 10 s or until ctx is done.
func Server(ctx context.Context, raw net.Conn, id *Identity) (*Conn, error) {
	c, err := shake(ctx, tls.Server(raw, id.server))
	if alert := new(net.OpError); errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(err.Error(), "bad certificate") {
		return nil, fmt.Errorf("%w: the worker does not take this dispatcher's certificate, and says itself why; this machine's clock says %s", err, date(time.Now()))
	}
	return c, err
}

// Client shakes hands with a dispatcher on raw, which must hold the key that pin names,
// within 10 s or until ctx is done. crypto/tls's own checks are off since they are about
// names and dates; VerifyConnection is called on every handshake.
func Client(ctx context.Context, raw net.Conn, pin Pin) (*Conn, error) {
	c := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the dispatcher showed no certificate")
			}
			got := pinOf(cs.PeerCertificates[0])
			if subtle.ConstantTimeCompare(got[:], pin[:]) != 1 {
				return fmt.Errorf("the dispatcher's key is %s, not the %s that the join string names: something else listens there, or the join string is of another dispatcher", got, pin)
			}
			return nil
		}})
	return shake(ctx, c)
}
