package http

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	tryTime      = 30 * time.Second
	waitTime     = 10 * time.Minute
	maxRefused   = 3 // tries more, when nobody listens
	refusedPause = time.Second
	maxRedirects = 5
)

// Client asks one service over HTTP/1.1. It may be used by several goroutines at once.
// Its zero value is ready, and its fields are not changed after the first use.
type Client struct {
	// CA are the certificates, in PEM, of the authorities that are trusted. Empty is
	// those of the system.
	CA string
	// Timeout bounds one try with its answer. 0 is 30 s.
	Timeout time.Duration
	// Wait bounds how long one request waits in all while the service says that it is
	// busy. 0 is 10 minutes.
	Wait time.Duration
	// Say tells the user what is waited for. It may be nil.
	Say func(format string, args ...any)

	dial func(ctx context.Context, network, address string) (net.Conn, error) // in tests

	gate       gate
	mu         sync.Mutex // guards transports
	transports map[route]*http.Transport
}

// Do asks the service, and returns its answer whatever its status is.
//
// A service that says that it is busy is asked again, and so is one at whose address
// nobody listens. A redirect is followed to the same host alone. A request that may
// have arrived is never sent twice, but for GET and HEAD. An error is ErrNotSent when
// the service has certainly not begun what was asked. When the answer breaks off,
// what came of it is returned with the error.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	e := &errand{c: c, r: r, left: cmp.Or(c.Wait, waitTime)}
	u, err := r.check()
	if err != nil {
		return Answer{}, e.fail(err.Error(), err, false)
	}
	e.u = u
	for {
		a, again, err := e.step(ctx)
		if !again {
			return a, err
		}
	}
}

// Close closes the connections that are kept for the next request.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// errand is one call of Do.
type errand struct {
	c         *Client
	r         Request
	u         *url.URL      // which redirects change
	left      time.Duration // to wait for a service that is busy
	refused   int           // how often nobody listened
	redirects int
	last      *Answer // that the service is busy
}

// step sends the request once, and says whether that is to be done again.
func (e *errand) step(ctx context.Context) (a Answer, again bool, err error) {
	g := &e.c.gate
	turn, err := g.pass(ctx, &e.left, e.tell)
	switch {
	case errors.Is(err, errBusy) && e.last != nil:
		return *e.last, false, nil
	case errors.Is(err, errBusy):
		return Answer{}, false, e.fail("it says that it is busy, and this has waited as long as it may: try again later", err, false)
	case err != nil:
		return Answer{}, false, e.fail(oneLine("given up before it was sent: "+err.Error()), err, false)
	}
	a, sent, err := e.try(ctx)
	if after, busy := a.busy(); busy {
		g.shut(turn, after, status(a.Status))
		e.last = &a
		return a, true, nil
	}
	g.leave(turn, a.Status != 0)
	switch {
	case err != nil && !sent && errors.Is(err, syscall.ECONNREFUSED) && e.refused < maxRefused:
		e.refused++
		if err := sleep(ctx, refusedPause); err != nil {
			return a, false, e.fail(oneLine("given up before it was sent: "+err.Error()), err, false)
		}
		return a, true, nil
	case err != nil:
		return a, false, e.explain(ctx, err, a.Status, sent)
	}
	again, err = e.redirect(a)
	return a, again, err
}

// tell tells the user what is waited for.
func (e *errand) tell(news string) {
	if e.c.Say != nil {
		e.c.Say("%s %s; Ctrl-C gives it up", Origin(e.r), news)
	}
}

// try sends the request and reads the answer. sent is whether there was a connection
// on which it may have been written.
func (e *errand) try(ctx context.Context) (a Answer, sent bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout(), errLate)
	defer cancel()
	// What is written after GotConn nobody tells reliably: the transport writes in a
	// goroutine of its own, which may go on for a moment after an end by ctx.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	t, err := e.c.transport(e.r)
	if err != nil {
		return Answer{}, false, err
	}
	resp, err := t.RoundTrip(e.request(ctx))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Answer{}, sent, err
	}
	defer resp.Body.Close() // of a body that was not read to its end this closes the connection
	a = Answer{Status: resp.StatusCode, Headers: resp.Header, secrets: e.r.secrets()}
	most := e.r.Most
	if most <= 0 {
		most = MaxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	a.Body, a.Truncated = string(body[:min(len(body), most)]), len(body) > most
	return a, sent, err
}

func (e *errand) timeout() time.Duration { return cmp.Or(e.c.Timeout, tryTime) }

// request is the request as net/http has it. One with a body has no GetBody, without
// which the transport cannot send it again.
func (e *errand) request(ctx context.Context) *http.Request {
	req := (&http.Request{
		Method: e.r.method(), URL: e.u, Host: e.u.Host, Header: http.Header{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if e.r.Body != "" {
		req.Body = io.NopCloser(strings.NewReader(e.r.Body))
		req.ContentLength = int64(len(e.r.Body))
	}
	for _, h := range e.r.Headers {
		req.Header.Add(h.Name, h.Value)
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
	}
	if _, has := e.r.header("User-Agent"); !has {
		req.Header.Set("User-Agent", "muster")
	}
	if _, has := e.r.header("Authorization"); e.u.User != nil && !has {
		password, _ := e.u.User.Password()
		req.SetBasicAuth(e.u.User.Username(), password)
	}
	return req
}

// redirect turns the errand to where the service sends it, and says whether it did. A
// service that sends a request elsewhere as it is, with 307 or 308, has begun nothing.
func (e *errand) redirect(a Answer) (again bool, err error) {
	location := http.Header(a.Headers).Get("Location")
	again307 := a.Status == http.StatusTemporaryRedirect || a.Status == http.StatusPermanentRedirect
	moved := a.Status == http.StatusMovedPermanently || a.Status == http.StatusFound || a.Status == http.StatusSeeOther
	if location == "" || !moved && !again307 {
		return false, nil
	}
	to, err := e.u.Parse(location)
	if err == nil {
		to, err = parse(to.String())
	}
	says := "it answered " + status(a.Status)
	switch {
	case err != nil:
		return false, e.fail(says+" and redirects to what is no http:// or https:// address", nil, moved)
	case origin(to) != origin(e.u):
		return false, e.fail(says+" and redirects to "+oneLine(origin(to))+": muster sends no credentials and no join string to another host; if it is right, write it as url", nil, moved)
	case moved && !e.r.safe():
		return false, e.fail(says+" and redirects this "+e.r.method()+" to another page of its own, as it does to one that asks for a login: write the right url, and see that the credentials are good", nil, true)
	case e.redirects == maxRedirects:
		return false, e.fail(says+" and redirects on and on: write the right url", nil, moved)
	}
	e.redirects++
	to.User = e.u.User
	e.u = to
	return true, nil
}

// sleep waits, or returns why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
