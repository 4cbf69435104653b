package tls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

var serials int64

// issue makes a certificate that a signs, or that signs itself without one. change may
// change what it says.
func (a *authority) issue(t *testing.T, name string, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serials++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serials), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, crypto.Signer(key)
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

// ca and host are what most of a test's certificates are.
func ca(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

func host(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// pemOf is the certificates as PEM, in their order.
func pemOf(list ...*authority) Text {
	var text []byte
	for _, a := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return Text{Text: string(text)}
}

func (a *authority) keyPEM() Text {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Text{Text: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
}

// list is a revocation list of a, valid from some time on for a day, signed by signer.
func (a *authority) list(signer *authority, from time.Time, revoked ...*authority) Text {
	return a.listWith(nil, signer, from, revoked...)
}

// listWith is list with an extension of the list.
func (a *authority) listWith(e *pkix.Extension, signer *authority, from time.Time, revoked ...*authority) Text {
	tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: from, NextUpdate: from.Add(24 * time.Hour)}
	if e != nil {
		tmpl.ExtraExtensions = []pkix.Extension{*e}
	}
	for _, r := range revoked {
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.cert.SerialNumber, RevocationTime: from})
	}
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, a.cert, signer.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Text{Text: string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))}
}

const headName = "head.example.org"

func silent(string, ...any) {}

// TestCertificateMistakes: each has a message of its own, which says how to mend it, and
// none repeats a key.
func TestCertificateMistakes(t *testing.T) {
	now := time.Now()
	root := (*authority)(nil).issue(t, "Root", ca)
	namesake := (*authority)(nil).issue(t, "Root", ca)
	middle := root.issue(t, "Middle", ca)
	leaf := middle.issue(t, "leaf", host(headName, "alias.example.org"))
	direct := root.issue(t, "direct", host(headName))
	own := (*authority)(nil).issue(t, "own", host(headName))
	other := root.issue(t, "other", host("other.example.org"))
	// One that signs though it is no CA: Go's x509 does not mind making it.
	below := direct.issue(t, "below", host(headName))
	old := root.issue(t, "old", func(c *x509.Certificate) {
		c.DNSNames, c.NotBefore, c.NotAfter = []string{headName}, now.AddDate(0, 0, -2), now.AddDate(0, 0, -1)
	})
	oldMiddle := root.issue(t, "old middle", func(c *x509.Certificate) {
		ca(c)
		c.NotBefore, c.NotAfter = now.AddDate(0, 0, -2), now.AddDate(0, 0, -1)
	})
	early := root.issue(t, "early", func(c *x509.Certificate) {
		c.DNSNames, c.NotBefore, c.NotAfter = []string{headName}, now.AddDate(0, 0, 1), now.AddDate(0, 0, 2)
	})
	client := root.issue(t, "client", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{headName}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	weak := root.issue(t, "weak", func(c *x509.Certificate) {
		c.DNSNames, c.SignatureAlgorithm = []string{headName}, x509.ECDSAWithSHA1
	})
	misnamed := root.issue(t, "misnamed", host("10.0.0.1"))
	const lists = "http://ca/1.crl"
	sharded := root.issue(t, "sharded", func(c *x509.Certificate) {
		c.DNSNames, c.CRLDistributionPoints = []string{headName}, []string{lists}
	})
	// A list of root's that has an extension: ids and values are those of RFC 5280,
	// sections 5.2.4 and 5.2.5.
	list := func(id asn1.ObjectIdentifier, value string, revoked ...*authority) Text {
		return root.listWith(&pkix.Extension{Id: id, Critical: true, Value: []byte(value)}, root, now.Add(-time.Hour), revoked...)
	}
	point := func(url string) string {
		name := func(tag byte, text string) string { return string([]byte{tag, byte(len(text))}) + text }
		return name(0x30, name(0xa0, name(0xa0, name(0x86, url))))
	}
	listed := func(of *authority, crl Text) Settings {
		return Settings{Cert: pemOf(of), Key: of.keyPEM(), Chain: pemOf(root), CRL: crl}
	}
	openChain := filepath.Join(t.TempDir(), "chain")
	if err := errors.Join(os.WriteFile(openChain, []byte(pemOf(root).Text), 0o600), os.Chmod(openChain, 0o666)); err != nil {
		t.Fatal(err)
	}
	crlf := func(a Text) Text { return Text{Text: strings.ReplaceAll(a.Text, "\n", "\r\n")} }
	both := func(a Text, b Text) Text { return Text{Text: a.Text + b.Text} }
	dir := t.TempDir()
	open := filepath.Join(dir, "open.key")
	if err := os.WriteFile(open, []byte(leaf.keyPEM().Text), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    Settings
		want string // empty if it is right
	}{
		"a chain":                {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: pemOf(root)}, ""},
		"all in the chain":       {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(leaf, middle, root)}, ""},
		"a chain in any order":   {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(root, leaf, middle)}, ""},
		"the key behind it":      {Settings{Cert: both(pemOf(leaf, middle), leaf.keyPEM()), Chain: pemOf(root)}, ""},
		"the key before it":      {Settings{Cert: both(leaf.keyPEM(), pemOf(leaf, middle)), Chain: pemOf(root)}, ""},
		"signed by itself":       {Settings{Cert: pemOf(own), Key: own.keyPEM(), Chain: pemOf(own)}, ""},
		"no root":                {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(middle)}, ""},
		"the other name":         {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: pemOf(root), Name: "alias.example.org"}, ""},
		"a good list":            {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: root.list(root, now.Add(-time.Hour), other)}, ""},
		"another's list too":     {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: both(root.list(root, now.Add(-time.Hour)), middle.list(middle, now.Add(-time.Hour)))}, ""},
		"no chain":               {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM()}, ""},
		"a path":                 {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), ChainPath: "/no/such/file", CRLPath: "/no/such/file"}, ""},
		"no cert":                {Settings{Key: leaf.keyPEM()}, "there is a key and no cert"},
		"nothing but a chain":    {Settings{Chain: pemOf(root)}, "there is no cert, which the other settings"},
		"no PEM":                 {Settings{Cert: Text{Text: "x"}, Key: leaf.keyPEM()}, "cert holds no certificate in PEM"},
		"no key":                 {Settings{Cert: pemOf(leaf)}, "there is no key: key = file("},
		"a certificate as key":   {Settings{Cert: pemOf(leaf), Key: pemOf(leaf)}, "key holds no private key in PEM"},
		"another key":            {Settings{Cert: pemOf(leaf, middle), Key: own.keyPEM()}, "key is not that of cert, which is for another key: `openssl pkey"},
		"the wrong order":        {Settings{Cert: pemOf(middle, leaf), Key: leaf.keyPEM()}, "cert has its certificates in the wrong order: the key is that of number 2, CN=leaf: put that first"},
		"an open key":            {Settings{Cert: pemOf(leaf), Key: Text{Path: open, Text: leaf.keyPEM().Text}}, open + "): others can read or change it (mode 0644), and whoever has it can pose as this dispatcher: chmod 600"},
		"an open chain":          {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: Text{Text: pemOf(root).Text, Path: openChain}}, "everybody can change it (mode 0666), and so decide who is trusted: chmod o-w"},
		"two chains":             {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(root), ChainPath: "/x"}, "keep one of them"},
		"two lists":              {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), ChainPath: "/x", CRL: pemOf(root), CRLPath: "/x"}, "keep one of them"},
		"a list alone":           {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), CRLPath: "/x"}, "there is a revocation list and no chain"},
		"a path from nowhere":    {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), ChainPath: "ca.pem"}, `chain_path is "ca.pem", and has to begin with /`},
		"no name":                {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Name: "-"}, "it is not known which name workers are to look for"},
		"another host":           {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: pemOf(root), Name: "login"}, `not for login, it is for head.example.org, alias.example.org: name = "head.example.org" in the tls block`},
		"an address":             {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Name: "10.0.0.1"}, "an address has to stand in the certificate as an IP address"},
		"a CN alone":             {Settings{Cert: pemOf(root), Key: root.keyPEM(), Name: "Root"}, "in its Common Name alone (Root), which nobody looks at any more: have it issued with Root as a subjectAltName; `muster tls request --name Root`"},
		"expired":                {Settings{Cert: pemOf(old), Key: old.keyPEM(), Chain: pemOf(root)}, "the certificate CN=old has expired: it was valid from"},
		"expired below":          {Settings{Cert: pemOf(oldMiddle.issue(t, "x", host(headName)), oldMiddle), Chain: pemOf(root)}, "the certificate CN=old middle has expired"},
		"not yet":                {Settings{Cert: pemOf(early), Key: early.keyPEM(), Chain: pemOf(root)}, "the certificate CN=early is not valid yet"},
		"a missing intermediate": {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(root)}, "the certificate CN=leaf is signed by CN=Middle, whose certificate is missing: put it behind the dispatcher's own in cert, or into chain"},
		"a missing root":         {Settings{Cert: pemOf(leaf, middle, root), Key: leaf.keyPEM(), Chain: pemOf(own)}, "signed, at the end, by the CA CN=Root, which is not in the chain that is trusted"},
		"itself not in it":       {Settings{Cert: pemOf(own), Key: own.keyPEM(), Chain: pemOf(root)}, "is signed by itself, and the chain does not hold it: chain = the certificate itself"},
		"a namesake":             {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(namesake)}, "names CN=Root as its CA, and the key of the certificate of that name in the chain is not the one"},
		"no CA above":            {Settings{Cert: pemOf(below, direct), Key: below.keyPEM(), Chain: pemOf(root)}, "the certificate CN=below is signed by CN=direct, which is no CA"},
		"no CA in it":            {Settings{Cert: pemOf(leaf), Key: leaf.keyPEM(), Chain: pemOf(leaf)}, "chain holds no certificate of a CA"},
		"not for servers":        {Settings{Cert: pemOf(client), Key: client.keyPEM(), Chain: pemOf(root)}, "is not for servers: have it issued with serverAuth"},
		"revoked":                {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: root.list(root, now.Add(-time.Hour), direct)}, "the certificate CN=direct was revoked by CN=Root on"},
		"revoked below":          {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: pemOf(root), CRL: both(middle.list(middle, now.Add(-time.Hour)), root.list(root, now.Add(-time.Hour), middle))}, "the certificate CN=Middle was revoked by CN=Root"},
		"an old list":            {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: root.list(root, now.AddDate(0, 0, -3))}, "the revocation list of CN=Root has expired on"},
		"a list of tomorrow":     {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: root.list(root, now.AddDate(0, 0, 1))}, "the revocation list of CN=Root is not valid yet"},
		"a forged list":          {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: namesake.list(namesake, now.Add(-time.Hour))}, "the revocation list of CN=Root is not signed by it"},
		"another's list":         {Settings{Cert: pemOf(leaf, middle), Key: leaf.keyPEM(), Chain: pemOf(root), CRL: root.list(root, now.Add(-time.Hour))}, "the revocation list is of CN=Root, and the certificate CN=leaf is signed by CN=Middle"},
		"a delta list":           {listed(direct, list(oidDelta, "\x02\x01\x01")), "does not say whether the certificate CN=direct was revoked: it has only what has changed since another list: take the whole list"},
		"a delta that has it":    {listed(direct, list(oidDelta, "\x02\x01\x01", direct)), "the certificate CN=direct was revoked by CN=Root on"},
		"a delta and the whole":  {listed(direct, both(list(oidDelta, "\x02\x01\x01"), root.list(root, now.Add(-time.Hour)))), ""},
		"a list of CAs":          {listed(direct, list(oidScope, "\x30\x03\x82\x01\xff")), "it is about CAs only"},
		"a list of users":        {listed(direct, list(oidScope, "\x30\x03\x81\x01\xff")), ""},
		"a list of some reasons": {listed(direct, list(oidScope, "\x30\x04\x83\x02\x06\x40")), "it is about some reasons only"},
		"a list of attributes":   {listed(direct, list(oidScope, "\x30\x03\x85\x01\xff")), "it is about certificates of attributes only"},
		"a list of rubbish":      {listed(direct, list(oidScope, "\x30\x09\x00")), "what it is about cannot be read"},
		"a list of odd words":    {listed(direct, list(asn1.ObjectIdentifier{1, 2, 3}, "\x05\x00")), "its extension 1.2.3 is critical, and not known here"},
		"its part of the list":   {listed(sharded, list(oidScope, point(lists))), ""},
		"another part of it":     {listed(sharded, list(oidScope, point(lists+"2"))), "it is another of its CA's lists than the one that the certificate names, " + lists},
		"SHA-1":                  {Settings{Cert: pemOf(weak), Key: weak.keyPEM(), Chain: pemOf(root)}, "the certificate CN=weak is signed with ECDSA-SHA1, which others can forge by now: have it signed anew, with SHA-256"},
		"an address as a name":   {Settings{Cert: pemOf(misnamed), Key: misnamed.keyPEM(), Name: "10.0.0.1"}, "has the address 10.0.0.1 as a DNS name, where nobody looks for addresses: have it issued with IP:10.0.0.1"},
		"a byte order mark":      {Settings{Cert: both(Text{Text: "\ufeff"}, pemOf(leaf, middle)), Key: both(Text{Text: "\ufeff"}, leaf.keyPEM()), Chain: both(Text{Text: "\ufeff"}, pemOf(root))}, ""},
		"lines of other systems": {Settings{Cert: crlf(pemOf(leaf, middle)), Key: crlf(leaf.keyPEM()), Chain: crlf(pemOf(root))}, ""},
		"two in one line":        {Settings{Cert: both(Text{Text: strings.TrimSpace(pemOf(leaf).Text)}, pemOf(middle)), Key: leaf.keyPEM(), Chain: pemOf(root)}, "cert begins 2 blocks of PEM, and 0 can be read: each -----BEGIN and each -----END is a line of its own"},
		"half a certificate":     {Settings{Cert: both(pemOf(leaf), Text{Text: pemOf(middle).Text[:200]}), Key: leaf.keyPEM(), Chain: pemOf(root)}, "cert begins 2 blocks of PEM, and 1 can be read"},
		"half a key":             {Settings{Cert: pemOf(leaf, middle), Key: Text{Text: leaf.keyPEM().Text[:100]}, Chain: pemOf(root)}, "key begins 1 blocks of PEM, and 0 can be read"},
		"DER":                    {Settings{Cert: Text{Text: string(leaf.cert.Raw)}, Key: leaf.keyPEM()}, "of DER, `openssl pkcs12 -in FILE` of PKCS#12"},
		"no list":                {Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root), CRL: pemOf(root)}, "crl holds no revocation list in PEM"},
	} {
		if c.s.Name == "" {
			c.s.Name = headName
		}
		c.s.Name = strings.TrimPrefix(c.s.Name, "-")
		_, err := LoadCertificate(c.s, silent)
		if name == "expired below" { // its key is not at hand
			err = c.s.Check(false)
		}
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v\nwant %q", name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "MIG"):
			t.Errorf("%s repeats a key: %v", name, err)
		}
	}
	big := root.issue(t, "big", func(c *x509.Certificate) {
		ca(c)
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, maxJoin)}}
	})
	s := Settings{Cert: pemOf(direct), Key: direct.keyPEM(), Chain: pemOf(root, (*authority)(nil).issue(t, "big", func(c *x509.Certificate) {
		ca(c)
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: big.cert.Raw}}
	})), Name: headName}
	if _, err := LoadCertificate(s, silent); err == nil || !strings.Contains(err.Error(), "12288 are possible: put them on the workers' machines") {
		t.Errorf("a chain that is too large: %v", err)
	}
}

// TestKeys reads keys in the forms that OpenSSL 3.0 writes; the passphrase is muster.
func TestKeys(t *testing.T) {
	read := func(name string) Text {
		path := filepath.Join("testdata", name)
		text, err := readPEM("key", path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	plain, err := parseKey(read("plain.pem"), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pkcs8.pem":      "", // openssl pkcs8 -topk8
		"pkcs8-des3.pem": "", // openssl pkcs8 -topk8 -v2 des3
		"legacy.pem":     "", // openssl ec -aes128, with Proc-Type: 4,ENCRYPTED
		"scrypt.pem":     "testdata/scrypt.pem): it is encrypted by 1.3.6.1.4.1.11591.4.11 and 2.16.840.1.101.3.4.1.42, which are not both known here: `openssl pkcs8 -topk8 -v2 aes-256-cbc",
		"pbes1.pem":      "testdata/pbes1.pem): it is encrypted by 1.2.840.113549.1.12.1.3, which is not known here: `openssl pkcs8 -topk8",
	} {
		key, err := parseKey(read(name), "muster")
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %q", name, err, want)
			}
			continue
		}
		if err != nil || !key.(*ecdsa.PrivateKey).Equal(plain) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := parseKey(read(name), ""); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s without a passphrase: %v", name, err)
		}
		if _, err := parseKey(read(name), "mustard"); !errors.Is(err, errWrong) || strings.Contains(err.Error(), "mustard") {
			t.Errorf("%s with another passphrase: %v", name, err)
		}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		block pem.Block
		want  string
	}{
		{pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}, ""},
		{pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}, ""},
		{pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: pkcs8}, "`ssh-keygen -p -m PKCS8 -f FILE` of OpenSSH's"},
		{pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8[1:]}, "key cannot be read"},
		{pem.Block{Type: encryptedType, Bytes: pkcs8}, "key: the encrypted key is damaged"},
		{pem.Block{Type: "PUBLIC KEY", Bytes: pkcs8}, "key holds no private key in PEM"},
	} {
		_, err := parseKey(Text{Text: string(pem.EncodeToMemory(&c.block))}, "muster")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.block.Type, err, c.want)
		}
	}
	if text := fmt.Sprintf("%v %s %q %+v", Secret("muster"), Secret("muster"), Secret("muster"), Settings{Passphrase: "muster"}); strings.Contains(text, "muster") {
		t.Errorf("the passphrase is printed: %s", text)
	}
}

func TestCleanName(t *testing.T) {
	for host, want := range map[string]string{"head": "head", "head.example.org.": "head.example.org", "[fe80::1%eth0]": "fe80::1",
		"fe80::1%eth0": "fe80::1", "fd00::1": "fd00::1", "10.0.0.1": "10.0.0.1", "a%b": "a%b", ".": "", "": ""} {
		if got := CleanName(host); got != want {
			t.Errorf("%q becomes %q, want %q", host, got, want)
		}
	}
	leaf := (*authority)(nil).issue(t, "x", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("fe80::1")} })
	if err := verifyName(leaf.cert, CleanName("[fe80::1%eth0]")); err != nil {
		t.Error(err)
	}
}

// shakeCA has a worker with join shake hands with a dispatcher over two ends of a
// connection.
func shakeCA(t *testing.T, id *Identity, join Join, a, b net.Conn) error {
	t.Helper()
	defer a.Close()
	served := make(chan error, 1)
	go func() {
		defer b.Close()
		_, err := Server(context.Background(), b, id)
		served <- err
	}()
	_, err := join.Client(context.Background(), a)
	serr := <-served
	if err != nil && (serr == nil || !strings.Contains(serr.Error(), "the worker does not take this dispatcher's certificate, and says itself why; this machine's clock says ")) {
		t.Errorf("the dispatcher does not see that the worker refused it: %v", serr)
	}
	return err
}

// TestWorkerJudges: in CA mode the chain and the name count, and the pin does not; a
// worker that has been told of no CA sees the dispatcher's own key.
func TestWorkerJudges(t *testing.T) {
	root := (*authority)(nil).issue(t, "Root", ca)
	other := (*authority)(nil).issue(t, "Other", ca)
	leaf := root.issue(t, "leaf", host(headName))
	dir := t.TempDir()
	write := func(name string, text Text) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rootFile, otherFile := write("root.pem", root.certText()), write("other.pem", pemOf(other))
	list, revoking := write("list", root.list(root, time.Now().Add(-time.Hour))), write("revoking", root.list(root, time.Now().Add(-time.Hour), leaf))
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	openFile := write("open.pem", pemOf(root))
	if err := os.Chmod(openFile, 0o666); err != nil {
		t.Fatal(err)
	}
	id := identity(t)
	load := func(s Settings) *Certificate {
		s.Cert, s.Key, s.Name = pemOf(leaf), leaf.keyPEM(), headName
		c, err := LoadCertificate(s, silent)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, c := range map[string]struct {
		s       Settings
		ca, crl string
		change  func(*Join)
		want    string
	}{
		"the chain in it":   {s: Settings{Chain: pemOf(root)}},
		"another pin":       {s: Settings{Chain: pemOf(root)}, change: func(j *Join) { j.Pin = Pin{1} }},
		"a file there":      {s: Settings{ChainPath: rootFile}},
		"a bundle":          {s: Settings{ChainPath: write("bundle", Text{Text: pemOf(other).Text + root.certText().Text})}},
		"at the worker":     {ca: rootFile},
		"over the other":    {s: Settings{ChainPath: otherFile}, ca: rootFile},
		"odd ones in it":    {s: Settings{ChainPath: write("odd", Text{Text: "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" + root.certText().Text})}},
		"a list there":      {s: Settings{ChainPath: rootFile, CRLPath: list}},
		"no chain":          {},
		"another CA there":  {s: Settings{Chain: pemOf(root)}, ca: otherFile, want: "the certificate CN=leaf is signed by CN=Root, whose certificate is missing"},
		"no such file":      {s: Settings{ChainPath: "/no/such/ca.pem"}, want: "read the chain that is trusted: open /no/such/ca.pem"},
		"an open file":      {ca: openFile, want: "everybody can change it (mode 0666), and so decide who is trusted: chmod o-w"},
		"nobody's pipe":     {ca: pipe, want: "read the chain that is trusted: " + pipe + " is a pipe into which nobody has written"},
		"a list from it":    {s: Settings{Chain: pemOf(root)}, crl: pipe, want: "read the revocation list: " + pipe + " is a pipe"},
		"a device":          {ca: "/dev/zero", want: "read the chain that is trusted: /dev/zero is no file"},
		"no certificate":    {ca: list, want: "holds no certificate in PEM"},
		"revoked there":     {s: Settings{Chain: pemOf(root)}, crl: revoking, want: "was revoked by CN=Root"},
		"another name":      {s: Settings{Chain: pemOf(root)}, change: func(j *Join) { j.Authority.Name = "login" }, want: "the certificate is not for login, it is for head.example.org"},
		"a profile gone":    {s: Settings{Chain: pemOf(root)}, change: func(j *Join) { j.Authority.Server = "gone" }, want: "the dispatcher has no certificate for profile gone"},
		"another's machine": {s: Settings{Chain: pemOf(root)}, change: func(j *Join) { j.Authority.Server, j.Pin = "gone", Pin{1} }, want: "is not for head.example.org, it is for muster"},
		"a damaged chain":   {s: Settings{Chain: pemOf(root)}, change: func(j *Join) { j.Authority.CAs[0] = []byte("x") }, want: "the join string is damaged"},
		"a pin that is not": {change: func(j *Join) { j.Pin = Pin{1} }, want: "the dispatcher's key is"},
	} {
		cert := load(c.s)
		id.Show("p", cert)
		join := Join{Addrs: []string{"unix:/x"}, Pin: id.Pin(), Token: NewToken(), Authority: cert.Authority("p")}
		if c.change != nil {
			c.change(&join)
		}
		join, err := ParseJoin(join.Encode())
		if err == nil {
			join, err = join.JudgedBy(c.ca, c.crl)
		}
		if err == nil {
			a, b := pair(t)
			err = shakeCA(t, id, join, a, b)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v\nwant %q", name, err, c.want)
		}
	}
	id.Show("p", nil)
	pinned := Join{Addrs: []string{"unix:/x"}, Pin: id.Pin(), Token: NewToken()}
	a, b := pair(t)
	if again, err := ParseJoin(pinned.Encode()); err != nil || again.Authority != nil || shakeCA(t, id, again, a, b) != nil {
		t.Errorf("a profile without a certificate: %+v, %v", again, err)
	}
	for _, files := range [][2]string{{rootFile, ""}, {"", list}} {
		if _, err := pinned.JudgedBy(files[0], files[1]); err != ErrNoAuthority {
			t.Errorf("--tls-ca %q --tls-crl %q without a certificate: %v", files[0], files[1], err)
		}
	}
}

func (a *authority) certText() Text { return pemOf(a) }

// TestClocks: with a pin no date matters; in CA mode the worker's clock does, and the
// message has both clocks.
func TestClocks(t *testing.T) {
	id := identity(t)
	synctest.Test(t, func(t *testing.T) { // in the year 2000, years before the identity was made
		root := (*authority)(nil).issue(t, "Root", func(c *x509.Certificate) { ca(c); c.NotAfter = c.NotBefore.AddDate(1, 0, 0) })
		a, b := net.Pipe()
		if err := shakeCA(t, id, Join{Pin: id.Pin()}, a, b); err != nil {
			t.Errorf("a pin, and a clock that is wrong by decades: %v", err)
		}
		began := time.Now()
		for name, c := range map[string]struct {
			from, until, made time.Duration // from now
			want              []string
		}{
			"right":      {-time.Hour, time.Hour, -time.Minute, nil},
			"slow clock": {23 * time.Hour, 48 * time.Hour, 24 * time.Hour, []string{"is not valid yet", "this machine's clock says 2000-01-01 00:00:00 UTC, the dispatcher's said 2000-01-02 00:00:00 UTC", "this machine's clock is behind, set it"}},
			"fast clock": {-25 * time.Hour, -time.Minute, -24 * time.Hour, []string{"has expired: it was valid from 1999-12-30 23:00:00 UTC to 1999-12-31 23:59:00 UTC", "this machine's clock says 2000-01-01 00:00:00 UTC, the dispatcher's said 1999-12-31 00:00:00 UTC", "if this machine's clock is wrong, set it"}},
		} {
			leaf := root.issue(t, "leaf", func(x *x509.Certificate) {
				x.DNSNames, x.NotBefore, x.NotAfter = []string{headName}, began.Add(c.from), began.Add(c.until)
			})
			cert := &Certificate{now: &loaded{authority: Authority{Name: headName, CAs: [][]byte{root.cert.Raw}}}}
			cert.now.shown.Certificate, cert.now.shown.PrivateKey = [][]byte{leaf.cert.Raw}, leaf.key
			id.Show("p", cert)
			join := Join{Pin: id.Pin(), Authority: cert.Authority("p")}
			join.Authority.MadeUnix = began.Add(c.made).Unix()
			a, b := net.Pipe()
			err := shakeCA(t, id, join, a, b)
			if (err == nil) != (c.want == nil) {
				t.Errorf("%s: %v", name, err)
			}
			for _, want := range c.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("%s: %v\nwant %q", name, err, want)
				}
			}
		}
	})
}

// TestRenewed: the next handshake has what the files hold then, and what cannot be used
// changes nothing.
func TestRenewed(t *testing.T) {
	dir := t.TempDir()
	root := (*authority)(nil).issue(t, "Root", ca)
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write := func(path string, text Text) Text {
		// As renewal programs do it: another file in its place.
		if err := os.WriteFile(path+".new", []byte(text.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		text.Path = path
		return text
	}
	first, second := root.issue(t, "first", host(headName)), root.issue(t, "second", host(headName))
	var said []string
	c, err := LoadCertificate(Settings{Cert: write(certFile, pemOf(first)), Key: write(keyFile, first.keyPEM()), Chain: pemOf(root), Name: headName},
		func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string { return c.current().shown.Leaf.Subject.CommonName }
	write(certFile, pemOf(second))
	shown() // which says nothing again
	if shown() != "first" || len(said) != 1 || !strings.Contains(said[0], "is not that of cert ("+certFile+")") {
		t.Errorf("with the key to come: %s is shown, and it says %q", shown(), said)
	}
	write(keyFile, second.keyPEM())
	if shown() != "second" || len(said) != 1 {
		t.Errorf("renewed: %s is shown, and it says %q", shown(), said)
	}
	os.Remove(keyFile)
	if shown() != "second" || len(said) != 2 {
		t.Errorf("the key is gone: %s is shown, and it says %q", shown(), said)
	}
	write(keyFile, second.keyPEM())
	if err := os.Chmod(keyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	write(certFile, pemOf(second))
	if shown() != "second" || len(said) != 3 || !strings.Contains(said[2], "chmod 600 it") {
		t.Errorf("the key is open: %s is shown, and it says %q", shown(), said)
	}
	third := root.issue(t, "third", host(headName))
	os.WriteFile(certFile, []byte(pemOf(third).Text), 0o600)
	os.WriteFile(keyFile, []byte(third.keyPEM().Text), 0o600)
	if shown() != "second" || len(said) != 4 {
		t.Errorf("an open key is renewed: %s is shown, and it says %q", shown(), said)
	}
	if err := os.Chmod(keyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if shown() != "third" || len(said) != 4 {
		t.Errorf("it is closed: %s is shown, and it says %q", shown(), said)
	}
	os.Remove(keyFile)
	if err := syscall.Mkfifo(keyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if shown() != "third" || len(said) != 5 || !strings.Contains(said[4], "a pipe into which nobody has written") {
		t.Errorf("the key is a pipe: %s is shown, and it says %q", shown(), said)
	}
	s := c.settings
	again := s
	again.Cert.Text = "renewed"
	if *s.Stable() != *again.Stable() || s.Stable().Cert.Path != certFile || (*Settings)(nil).Stable() != nil {
		t.Error("what is renewed makes another profile")
	}
}

// FuzzPEM: no text makes the readers of certificates, keys and lists panic, or take what
// cannot be used.
func FuzzPEM(f *testing.F) {
	pair, key, err := SelfSigned([]string{headName}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(pair)+string(key), "", headName)
	for _, name := range []string{"pkcs8.pem", "pkcs8-des3.pem", "legacy.pem", "scrypt.pem"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), "muster", headName)
	}
	f.Add("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "", "::1%x")
	f.Fuzz(func(t *testing.T, text, passphrase, name string) {
		in := Text{Text: text}
		c, err := LoadCertificate(Settings{Cert: in, Chain: in, CRL: in, Passphrase: Secret(passphrase), Name: CleanName(name)}, silent)
		if err == nil && (c.current().shown.PrivateKey == nil || len(c.current().authority.CAs) == 0) {
			t.Error("it took what cannot be used")
		}
		if _, err := parseKey(in, Secret(passphrase)); err != nil && err.Error() == "" {
			t.Error("an error says nothing")
		}
		parseRevoked("crl", in)
		if list, err := parseCertificates("cert", in); err == nil {
			split(list)
		}
	})
}
