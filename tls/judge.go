package tls

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A dispatcher whose profile has a certificate of a CA is known by it: that is CA mode.
// Both ends judge alike, the dispatcher before it takes the certificate, the workers at
// each handshake; the worker's judgement is the one that counts.

// CleanName returns a host's name as a certificate has it: without brackets, zone and a
// dot at the end.
func CleanName(host string) string {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if at := strings.IndexByte(host, '%'); at >= 0 && net.ParseIP(host[:at]) != nil {
		host = host[:at]
	}
	return strings.TrimRight(host, ".")
}

// judge is by what a dispatcher's certificate is judged.
type judge struct {
	name    string
	anchors []*x509.Certificate // what is trusted
	others  []*x509.Certificate // that may lead there
	revoked []*x509.RevocationList
	now     time.Time
}

// split divides the certificates of a chain, or of a file with many CAs, into those that
// are trusted, since nothing else in it signs them, and those that lead there. Their
// order does not matter.
func split(chain []*x509.Certificate) (anchors, others []*x509.Certificate) {
	subjects := map[string]bool{}
	for _, c := range chain {
		subjects[string(c.RawSubject)] = true
	}
	for _, c := range chain {
		own := bytes.Equal(c.RawSubject, c.RawIssuer)
		if own || c.IsCA && !subjects[string(c.RawIssuer)] {
			anchors = append(anchors, c)
		} else {
			others = append(others, c)
		}
	}
	return anchors, others
}

// dateError says that a certificate or a list is not valid now.
type dateError struct{ text string }

func (e dateError) Error() string { return e.text }

// date writes a moment for a person, in UTC, so that those of two machines compare.
func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// called names a certificate in errors.
func called(c *x509.Certificate) string {
	if text := c.Subject.String(); text != "" {
		return text
	}
	if names := namesOf(c); len(names) > 0 {
		return names[0]
	}
	return "serial number " + c.SerialNumber.String()
}

// namesOf are the names and addresses that a certificate is for.
func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// verify judges the certificates that a dispatcher shows, the first of which is its own.
func (j judge) verify(shown []*x509.Certificate) error {
	leaf := shown[0]
	if err := verifyName(leaf, j.name); err != nil {
		return err
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: j.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, c := range j.anchors {
		o.Roots.AddCert(c)
	}
	j.others = append(slices.Clone(j.others), shown[1:]...)
	for _, c := range j.others {
		o.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(o)
	if err != nil {
		return j.explain(leaf, err)
	}
	// One that is revoked by one way may be needed for none of the others.
	for _, chain := range chains {
		if err = j.verifyRevoked(chain); err == nil {
			return nil
		}
	}
	return err
}

func verifyName(c *x509.Certificate, name string) error {
	if c.VerifyHostname(name) == nil {
		return nil
	}
	names := namesOf(c)
	switch {
	case len(names) == 0 && c.Subject.CommonName != "":
		return fmt.Errorf("the certificate says who it is for in its Common Name alone (%s), which nobody looks at any more: have it issued with %s as a subjectAltName; `muster tls request --name %s` makes such a request", c.Subject.CommonName, name, name)
	case len(names) == 0:
		return fmt.Errorf("the certificate %s is for no name: have it issued with %s as a subjectAltName; `muster tls request --name %s` makes such a request", called(c), name, name)
	}
	if slices.Contains(c.DNSNames, name) && net.ParseIP(name) != nil {
		return fmt.Errorf("the certificate has the address %s as a DNS name, where nobody looks for addresses: have it issued with IP:%s as a subjectAltName; `muster tls request --name %s` makes such a request", name, name, name)
	}
	hint := fmt.Sprintf("name = %q in the tls block of the profile says which of these is meant", names[0])
	if net.ParseIP(name) != nil && len(c.IPAddresses) == 0 {
		hint += "; an address has to stand in the certificate as an IP address, and it has names only"
	}
	return fmt.Errorf("the certificate is not for %s, it is for %s: %s", name, strings.Join(names, ", "), hint)
}

// explain says why there is no chain from a certificate to what is trusted.
func (j judge) explain(leaf *x509.Certificate, why error) error {
	path, missing := j.walk(leaf)
	for _, c := range path {
		if err := j.dates(c); err != nil {
			return err
		}
	}
	if missing != nil {
		return missing
	}
	var invalid x509.CertificateInvalidError
	if errors.As(why, &invalid) && invalid.Reason == x509.IncompatibleUsage {
		return fmt.Errorf("the certificate %s is not for servers: have it issued with serverAuth as an extended key usage", called(leaf))
	}
	return fmt.Errorf("the certificate %s does not lead to what is trusted: %w", called(leaf), why)
}

// dates says that a certificate is not valid now.
func (j judge) dates(c *x509.Certificate) error {
	switch {
	case j.now.After(c.NotAfter):
		return dateError{fmt.Sprintf("the certificate %s has expired: it was valid from %s to %s: renew it", called(c), date(c.NotBefore), date(c.NotAfter))}
	case j.now.Before(c.NotBefore):
		return dateError{fmt.Sprintf("the certificate %s is not valid yet: it is from %s to %s", called(c), date(c.NotBefore), date(c.NotAfter))}
	}
	return nil
}

// walk goes from a certificate to those that sign it, and says what is missing to get to
// one that is trusted.
func (j judge) walk(leaf *x509.Certificate) (path []*x509.Certificate, missing error) {
	all := append(slices.Clone(j.anchors), j.others...)
	path = []*x509.Certificate{leaf}
	for len(path) <= len(all)+1 {
		c := path[len(path)-1]
		if slices.ContainsFunc(j.anchors, c.Equal) {
			return path, nil
		}
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			if c == leaf {
				return path, fmt.Errorf("the certificate %s is signed by itself, and the chain does not hold it: chain = the certificate itself has workers trust it", called(c))
			}
			return path, fmt.Errorf("the certificate is signed, at the end, by the CA %s, which is not in the chain that is trusted: put the certificate of that CA last in chain, or into the file at chain_path", called(c))
		}
		i := slices.IndexFunc(all, func(up *x509.Certificate) bool {
			return bytes.Equal(up.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(up) == nil
		})
		if i < 0 {
			return path, j.lacking(c, all)
		}
		path = append(path, all[i])
	}
	return path, nil
}

// lacking says that nothing is there that signs a certificate.
func (j judge) lacking(c *x509.Certificate, all []*x509.Certificate) error {
	for _, up := range all {
		if !bytes.Equal(up.RawSubject, c.RawIssuer) {
			continue
		}
		err := c.CheckSignatureFrom(up)
		if errors.As(err, new(x509.ConstraintViolationError)) {
			return fmt.Errorf("the certificate %s is signed by %s, which is no CA, or one that may not sign certificates: have it signed by one that may", called(c), called(up))
		}
		if errors.As(err, new(x509.InsecureAlgorithmError)) {
			return fmt.Errorf("the certificate %s is signed with %v, which others can forge by now: have it signed anew, with SHA-256", called(c), c.SignatureAlgorithm)
		}
		return fmt.Errorf("the certificate %s names %s as its CA, and the key of the certificate of that name in the chain is not the one that signed it: take the CA's present certificate", called(c), called(up))
	}
	return fmt.Errorf("the certificate %s is signed by %s, whose certificate is missing: put it behind the dispatcher's own in cert, or into chain", called(c), c.Issuer.String())
}

// parseRevoked reads all revocation lists of a text; there is one at least.
func parseRevoked(what string, text Text) ([]*x509.RevocationList, error) {
	if err := damaged(what, text); err != nil {
		return nil, err
	}
	var list []*x509.RevocationList
	for _, b := range blocks(text.Text) {
		if b.Type != "X509 CRL" {
			continue
		}
		l, err := x509.ParseRevocationList(b.Bytes)
		if err != nil && strings.Contains(err.Error(), "crl version") {
			return nil, fmt.Errorf("%s: revocation list %d of it is of version 1: a CA makes version 2 if it numbers its lists; with `openssl ca` crlnumber in its config does that", text.named(what), len(list)+1)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: revocation list %d of it cannot be read: %w", text.named(what), len(list)+1, err)
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no revocation list in PEM, which stands between -----BEGIN X509 CRL----- and -----END X509 CRL-----: `openssl crl -inform der -in FILE` makes PEM of DER", text.named(what))
	}
	return list, nil
}

// verifyRevoked checks the lists, if there are any. One of the CA that signed the
// dispatcher's own certificate has to be among them; those of others count if they are
// there.
func (j judge) verifyRevoked(chain []*x509.Certificate) error {
	if len(j.revoked) == 0 {
		return nil
	}
	for i := range len(chain) - 1 {
		c, ca := chain[i], chain[i+1]
		found, part := false, ""
		for _, l := range j.revoked {
			if !bytes.Equal(l.RawIssuer, ca.RawSubject) {
				continue
			}
			if err := j.revokes(l, c, ca); err != nil {
				return err
			}
			if why := partOf(l, c); why != "" {
				part = why
				continue
			}
			found = true
		}
		if i == 0 && !found && part != "" {
			return fmt.Errorf("the revocation list of %s does not say whether the certificate %s was revoked: %s: take the whole list of that CA", called(ca), called(c), part)
		}
		if i == 0 && !found {
			return fmt.Errorf("the revocation list is of %s, and the certificate %s is signed by %s: take the list of that CA", j.revoked[0].Issuer.String(), called(c), called(ca))
		}
	}
	return nil
}

func (j judge) revokes(l *x509.RevocationList, c, ca *x509.Certificate) error {
	if err := l.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("the revocation list of %s is not signed by it: %w: fetch it anew from that CA", called(ca), err)
	}
	if j.now.Before(l.ThisUpdate) {
		return dateError{fmt.Sprintf("the revocation list of %s is not valid yet: it is from %s", called(ca), date(l.ThisUpdate))}
	}
	if !l.NextUpdate.IsZero() && j.now.After(l.NextUpdate) {
		return dateError{fmt.Sprintf("the revocation list of %s has expired on %s, and so says nothing of now: fetch the CA's present one; crl_path names a file that is read at each connection", called(ca), date(l.NextUpdate))}
	}
	for _, r := range l.RevokedCertificateEntries {
		if r.SerialNumber.Cmp(c.SerialNumber) == 0 && r.ReasonCode != removedFromList {
			return fmt.Errorf("the certificate %s was revoked by %s on %s: have a new one issued for a new key", called(c), called(ca), date(r.RevocationTime))
		}
	}
	return nil
}

// removedFromList is the reason of an entry of a delta list whose certificate is revoked
// no more (RFC 5280, section 5.3.1).
const removedFromList = 8

// Extensions of a revocation list (RFC 5280, sections 5.2.4 and 5.2.5).
var (
	oidDelta = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidScope = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// partOf says why a list that does not name a certificate may not be all that its CA has
// to say of it; it is empty if it is.
func partOf(l *x509.RevocationList, c *x509.Certificate) string {
	for _, e := range l.Extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return "it has only what has changed since another list"
		case e.Id.Equal(oidScope):
			if why := outOfScope(e.Value, c); why != "" {
				return why
			}
		case e.Critical:
			return fmt.Sprintf("its extension %v is critical, and not known here", e.Id)
		}
	}
	return ""
}

// outOfScope says why a list with this IssuingDistributionPoint is not about a
// certificate.
func outOfScope(der []byte, c *x509.Certificate) string {
	var scope struct {
		Point      asn1.RawValue  `asn1:"optional,tag:0"`
		Users      bool           `asn1:"optional,tag:1"`
		CAs        bool           `asn1:"optional,tag:2"`
		Reasons    asn1.BitString `asn1:"optional,tag:3"`
		Indirect   bool           `asn1:"optional,tag:4"`
		Attributes bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(der, &scope)
	switch {
	case err != nil || len(rest) > 0:
		return "what it is about cannot be read"
	case scope.Users && c.IsCA:
		return "it is not about CAs"
	case scope.CAs && !c.IsCA:
		return "it is about CAs only"
	case scope.Reasons.BitLength > 0:
		return "it is about some reasons only"
	case scope.Attributes:
		return "it is about certificates of attributes only"
	}
	// A CA with several lists names the one that a certificate is in.
	in := func(url string) bool {
		name, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(url)})
		return err == nil && bytes.Contains(scope.Point.Bytes, name)
	}
	if len(scope.Point.Bytes) > 0 && len(c.CRLDistributionPoints) > 0 && !slices.ContainsFunc(c.CRLDistributionPoints, in) {
		return "it is another of its CA's lists than the one that the certificate names, " + c.CRLDistributionPoints[0]
	}
	return ""
}
