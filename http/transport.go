package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

const (
	maxHeaders = 256 << 10 // bytes, of an answer
	idleTime   = 30 * time.Second
)

// route is how requests reach the service.
type route struct {
	socket string // empty is TCP
	kept   bool   // connections are used again
}

// transport returns the transport of a request. Only what may be sent twice goes over
// a connection that has been used: the service may close it at the same moment, and
// nobody would know whether the request has arrived.
func (c *Client) transport(r Request) (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	way := route{r.Socket, r.safe() && r.Body == ""}
	if t := c.transports[way]; t != nil {
		return t, nil
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      !way.kept,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeaders,
	}
	if c.CA != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, errNoCA
		}
	}
	if c.dial != nil {
		t.DialContext = c.dial
	}
	if way.socket != "" {
		dial := t.DialContext
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "unix", way.socket) }
	}
	if c.transports == nil {
		c.transports = map[route]*http.Transport{}
	}
	c.transports[way] = t
	return t, nil
}
