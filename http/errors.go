package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"
)

// ErrNotSent says that the service has certainly not begun what was asked. Every other
// error of Client.Do leaves that open.
var ErrNotSent = errors.New("the request was not sent")

var (
	errLate = errors.New("no answer in time")
	errNoCA = errors.New("there is no certificate in ca: it is text that begins with -----BEGIN CERTIFICATE-----")
)

// failure is why a request has no answer.
type failure struct {
	text   string
	cause  error // may be nil
	unsent bool
}

func (f *failure) Error() string        { return f.text }
func (f *failure) Unwrap() error        { return f.cause }
func (f *failure) Is(target error) bool { return target == ErrNotSent && f.unsent }

// fail is the error that says what was tried and what happened.
func (e *errand) fail(text string, cause error, sent bool) error {
	method := e.r.method()
	if notToken(method) >= 0 {
		method = "a request to"
	}
	return &failure{text: method + " " + Origin(e.r) + ": " + text, cause: cause, unsent: !sent}
}

// explain is the error of a try.
func (e *errand) explain(ctx context.Context, err error, answered int, sent bool) error {
	text := e.reason(err)
	switch {
	case answered != 0:
		text = "it answered " + status(answered) + ", and the rest of the answer did not come: " + text
	case ctx.Err() != nil && !sent:
		text = "given up before it was sent: " + text
	case ctx.Err() != nil:
		text = "given up while the answer was waited for: " + text
	}
	if sent && !e.r.safe() && answered == 0 {
		text += "; whether the request was accepted is not known"
	}
	return e.fail(text, err, sent)
}

// reason says what has happened and what to do.
func (e *errand) reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		return "the proxy that HTTP_PROXY or HTTPS_PROXY names: " + e.reason(op.Err)
	}
	if text := e.tlsReason(err); text != "" {
		return text
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, errLate):
		return fmt.Sprintf("there was no whole answer within %s", e.timeout())
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused: nothing listens there; see that the service runs, and that the address is right"
	case errors.Is(err, fs.ErrNotExist) && e.r.Socket != "":
		return "there is no such socket: see that the service runs, and that the path is right"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the name of the host is not known: see that the address is right"
	}
	return oneLine(err.Error())
}

// tlsReason says what is wrong about a service's certificate or its TLS; empty if that
// is not it.
func (e *errand) tlsReason(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &name):
		return fmt.Sprintf("its certificate is not for %s but for %s; write a name that it has in url, or give the service a certificate for this one", oneLine(name.Host), oneLine(names(name.Certificate)))
	case errors.As(err, &authority) && e.c.CA != "":
		return "its certificate is not signed by an authority that is in the launcher's ca: see that this is the file of this service"
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not known here: ca = FILE in the launcher names it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate is good from %s to %s: it is to be renewed, or the clock here is wrong", invalid.Cert.NotBefore.Format(time.DateOnly), invalid.Cert.NotAfter.Format(time.DateOnly))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it does not speak TLS there: if that is right, write http:// in url"
	}
	return ""
}

// names are those of a certificate.
func names(c *x509.Certificate) string {
	list := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no name at all"
	}
	const most = 5
	if len(list) > most {
		list = append(list[:most], "…")
	}
	return strings.Join(list, ", ")
}
