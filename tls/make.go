package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// newKey makes a P-256 key, whose handshakes cost a few hundred microseconds, and its
// PEM.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// byKind divides names into those of hosts and addresses.
func byKind(names []string) (hosts []string, ips []net.IP, err error) {
	if len(names) == 0 {
		return nil, nil, errors.New("a certificate needs a name: that of the host which workers dial")
	}
	for _, name := range names {
		name = CleanName(name)
		if ip := net.ParseIP(name); ip != nil {
			ips = append(ips, ip)
			continue
		}
		if !isHost(name) {
			return nil, nil, fmt.Errorf("%q is no name of a host and no address", name)
		}
		hosts = append(hosts, name)
	}
	return hosts, ips, nil
}

// isHost reports whether a name may stand in a certificate: letters, digits, -, _ and
// dots, and *. before it.
func isHost(name string) bool {
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.' && i > 0:
		case r == '*' && i == 0 && len(name) > 2 && name[1] == '.':
		default:
			return false
		}
	}
	return name != "" && len(name) <= 253
}

// SelfSigned makes a key, and a certificate for names that it signs itself: PEM of both.
func SelfSigned(names []string, from, until time.Time) (cert, key []byte, err error) {
	return selfSigned(pkix.Name{CommonName: common(names)}, names, from, until)
}

func selfSigned(subject pkix.Name, names []string, from, until time.Time) (cert, key []byte, err error) {
	hosts, ips, err := byKind(names)
	if err != nil {
		return nil, nil, err
	}
	k, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: subject, DNSNames: hosts, IPAddresses: ips, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, err
}

// Request makes a key, and a request that a CA sign a certificate for names: PEM of both.
func Request(names []string) (csr, key []byte, err error) {
	hosts, ips, err := byKind(names)
	if err != nil {
		return nil, nil, err
	}
	k, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: common(names)}, DNSNames: hosts, IPAddresses: ips}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), key, err
}

// common is the Common Name for names, which old programs show: 64 characters at most
// (RFC 5280, ub-common-name).
func common(names []string) string {
	if len(names) > 0 && len(names[0]) <= 64 {
		return CleanName(names[0])
	}
	return ""
}

// Facts are what a certificate says.
type Facts struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Names   []string  `json:"names"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Pin     string    `json:"pin"`
}

func factsOf(c *x509.Certificate) Facts {
	return Facts{called(c), c.Issuer.String(), append([]string{}, namesOf(c)...), c.NotBefore.UTC(), c.NotAfter.UTC(), pinOf(c).String()}
}

// ReadFacts reads a file of certificates or of a key, of which it has the pin alone.
func ReadFacts(path string, passphrase Secret) ([]Facts, error) {
	text, err := readPEM("the file", path)
	if err != nil {
		return nil, err
	}
	if certs, err := parseCertificates("the file", text); err == nil {
		var list []Facts
		for _, c := range certs {
			list = append(list, factsOf(c))
		}
		return list, nil
	}
	key, err := parseKey(text, passphrase)
	if err != nil {
		return nil, err
	}
	pin, err := pinOfKey(key)
	return []Facts{{Names: []string{}, Pin: pin.String()}}, err
}

func pinOfKey(key crypto.Signer) (Pin, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Pin{}, fmt.Errorf("read the public key: %w", err)
	}
	return pinOf(&x509.Certificate{RawSubjectPublicKeyInfo: der}), nil
}

// ReadText reads a file for Settings. It has no text without a path.
func ReadText(what, path string) (Text, error) {
	if path == "" {
		return Text{}, nil
	}
	return readPEM(what, path)
}

// Facts are what the settings' own certificate says, and those behind it.
func (s *Settings) Facts() ([]Facts, error) {
	certs, err := parseCertificates("cert", s.Cert)
	var list []Facts
	for _, c := range certs {
		list = append(list, factsOf(c))
	}
	return list, err
}
