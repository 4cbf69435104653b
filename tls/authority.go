package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// Authority is by what a worker knows its dispatcher in CA mode: a chain, and the name
// that the certificate has to be for, whatever address was dialled. It is part of the
// join string of a profile that has a certificate, where its names never change.
type Authority struct {
	Server   string   `json:"s"`           // whose certificate the dispatcher is to show: the profile
	Name     string   `json:"n"`           // that it has to be for
	CAs      [][]byte `json:"r,omitempty"` // that are trusted, DER
	CAFile   string   `json:"f,omitempty"` // on the worker's machine; in the place of CAs
	CRLs     [][]byte `json:"v,omitempty"` // revocation lists, DER
	CRLFile  string   `json:"w,omitempty"` // on the worker's machine; in the place of CRLs
	MadeUnix int64    `json:"d"`           // when the join string was made, by the dispatcher's clock
}

// judges reports whether there is anything to judge by: a worker that has not been told
// what to trust pins the dispatcher's own key, as in pin mode.
func (a *Authority) judges() bool { return a != nil && (len(a.CAs) > 0 || a.CAFile != "") }

// Carried is how many bytes of a join string are the chain and the revocation lists.
func (a *Authority) Carried() int {
	if a == nil {
		return 0
	}
	bare := *a
	bare.CAs, bare.CRLs = nil, nil
	return len(Join{Authority: a}.Encode()) - len(Join{Authority: &bare}.Encode())
}

// serverSuffix makes a name of a profile that can be a server's name in TLS.
const serverSuffix = ".profile.muster"

// ErrNoAuthority says that a worker was told to judge by a CA, and its dispatcher has
// nothing to be judged by.
var ErrNoAuthority = errors.New("the join string is of a profile without a certificate of its own: a tls block in the profile gives it one, or leave --tls-ca and --tls-crl out, and the worker knows the dispatcher by its key")

// JudgedBy returns the join string with files of this machine in the place of the chain
// and of the revocation list that it says; an empty path changes nothing.
func (j Join) JudgedBy(caFile, crlFile string) (Join, error) {
	if caFile == "" && crlFile == "" {
		return j, nil
	}
	if j.Authority == nil || caFile == "" && !j.Authority.judges() {
		return j, ErrNoAuthority
	}
	a := *j.Authority
	if caFile != "" {
		a.CAs, a.CAFile = nil, caFile
	}
	if crlFile != "" {
		a.CRLs, a.CRLFile = nil, crlFile
	}
	j.Authority = &a
	return j, nil
}

// Client shakes hands with the dispatcher on raw, within 10 s or until ctx is done. It
// must hold the key that the join string pins or, in CA mode, a certificate that the
// chain leads to and that is for the right name.
func (j Join) Client(ctx context.Context, raw net.Conn) (*Conn, error) {
	if !j.Authority.judges() {
		return Client(ctx, raw, j.Pin)
	}
	by, unread := j.Authority.judge()
	c := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, ServerName: j.Authority.Server + serverSuffix,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if unread != nil { // what is wrong here, the dispatcher hears of too: it sees a refusal
				return unread
			}
			by.now = time.Now()
			return j.verify(by, cs.PeerCertificates)
		}})
	return shake(ctx, c)
}

func (j Join) verify(by judge, shown []*x509.Certificate) error {
	if len(shown) == 0 {
		return errors.New("the dispatcher showed no certificate")
	}
	if pinOf(shown[0]) == j.Pin {
		return fmt.Errorf("the dispatcher has no certificate for profile %s: it was reset, or has no tls block any more", j.Authority.Server)
	}
	err := by.verify(shown)
	var d dateError
	if errors.As(err, &d) {
		made := time.Unix(j.Authority.MadeUnix, 0)
		text := fmt.Sprintf("%v; this machine's clock says %s, the dispatcher's said %s when it made the join string", err, date(by.now), date(made))
		if by.now.Before(made) {
			return errors.New(text + ": this machine's clock is behind, set it")
		}
		return errors.New(text + ": if this machine's clock is wrong, set it")
	}
	return err
}

// judge reads what to judge by. Files are read each time, so that a new one counts.
func (a *Authority) judge() (by judge, err error) {
	by.name = a.Name
	var chain []*x509.Certificate
	if a.CAFile != "" {
		chain, err = trustedFile(a.CAFile)
	} else {
		chain, err = parseAll(a.CAs, x509.ParseCertificate)
	}
	if err != nil {
		return by, err
	}
	if by.anchors, by.others = split(chain); len(by.anchors) == 0 {
		return by, fmt.Errorf("%s holds no certificate of a CA: it takes that of the CA which signed the dispatcher's", a.CAFile)
	}
	if a.CRLFile == "" {
		by.revoked, err = parseAll(a.CRLs, x509.ParseRevocationList)
		return by, err
	}
	text, err := readPEM("the revocation list", a.CRLFile)
	if err == nil {
		err = guardTrust("the revocation list", text)
	}
	if err == nil {
		by.revoked, err = parseRevoked("the revocation list", text)
	}
	return by, err
}

// trustedFile reads certificates that are trusted, which nobody else may have put there.
func trustedFile(path string) ([]*x509.Certificate, error) {
	const what = "the chain that is trusted"
	text, err := readPEM(what, path)
	if err != nil {
		return nil, err
	}
	if err := guardTrust(what, text); err != nil {
		return nil, err
	}
	// Of all that a system trusts some may be of a kind that is not known here.
	var list []*x509.Certificate
	for _, b := range blocks(text.Text) {
		if c, err := x509.ParseCertificate(b.Bytes); err == nil && b.Type == "CERTIFICATE" {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return parseCertificates(what, text) // says why
	}
	return list, nil
}

func parseAll[T any](list [][]byte, parse func([]byte) (T, error)) ([]T, error) {
	var all []T
	for _, der := range list {
		one, err := parse(der)
		if err != nil {
			return nil, fmt.Errorf("the join string is damaged: %w", err)
		}
		all = append(all, one)
	}
	return all, nil
}
