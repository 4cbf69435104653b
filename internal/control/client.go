package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/rng"
)

// Client talks to the dispatcher behind one socket. It is safe for concurrent
// use.
type Client struct {
	socket string
	run    string // whose dispatcher is meant; "" is whoever listens
	http   *http.Client
}

// NewClient returns a client of the socket. Nothing is dialled yet.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost:   64,
		ExpectContinueTimeout: time.Minute,
	}}}
}

// Close lets go of connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Of returns a client, in place of c, of the dispatcher of one run: another that
// listens on the same socket later refuses its calls. Ids of futures mean
// something to the dispatcher that gave them only.
func (c *Client) Of(run string) *Client {
	return &Client{c.socket, run, c.http}
}

// do makes a call and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	q, err := http.NewRequestWithContext(ctx, method, "http://muster/v1"+path, body)
	if err != nil {
		return nil, err
	}
	if b, ok := body.(sized); ok {
		b.frame(q)
	}
	if c.run != "" {
		q.Header.Set(headerRun, c.run)
	}
	resp, err := c.http.Do(q)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w (nobody listens on %s)", ErrUnreachable, c.socket)
	case err != nil:
		return nil, fmt.Errorf("talk to the dispatcher on %s: %w", c.socket, errors.Unwrap(err))
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("the dispatcher answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil, e
}

// call makes a call with a JSON body and reads a JSON answer.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	return c.callWith(ctx, method, path, in, answer)
}

// callWith makes a call with any body and reads a JSON answer.
func (c *Client) callWith(ctx context.Context, method, path string, body io.Reader, answer any) error {
	out, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer out.Close()
	if answer == nil {
		_, err = io.Copy(io.Discard, out)
	} else {
		err = json.NewDecoder(out).Decode(answer)
	}
	return c.whole(ctx, err)
}

// whole says what an error in the body of an answer means.
func (c *Client) whole(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("the dispatcher on %s ended amid its answer: %w", c.socket, err)
}

// Status returns the full picture.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	st := &Status{}
	return st, c.call(ctx, "GET", "/status", nil, st)
}

// mostAsked is how many futures StatusOf asks for at most: their ids are in a header.
const mostAsked = 1000

// StatusOf returns the full picture with these futures in the place of all, the first of
// them if they are many.
func (c *Client) StatusOf(ctx context.Context, ids ...dispatcher.ID) (*Status, error) {
	var words []string
	for _, id := range ids[:min(len(ids), mostAsked)] {
		words = append(words, strconv.FormatUint(uint64(id), 10))
	}
	st := &Status{}
	return st, c.call(ctx, "GET", "/status?futures="+strings.Join(words, ","), nil, st)
}

// Watch calls f with the status now and after every change, until ctx is done,
// f fails or the dispatcher ends.
func (c *Client) Watch(ctx context.Context, f func(*Status) error) error {
	out, err := c.do(ctx, "GET", "/status?watch=true", nil)
	if err != nil {
		return err
	}
	defer out.Close()
	dec := json.NewDecoder(out)
	for {
		st := &Status{}
		if err := dec.Decode(st); err != nil {
			if ctx.Err() != nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
		if err := f(st); err != nil {
			return err
		}
	}
}

// Info returns a profile's counters.
func (c *Client) Info(ctx context.Context, profile string) (i Info, err error) {
	return i, c.call(ctx, "GET", "/info?profile="+profile, nil, &i)
}

// Up adds profiles.
func (c *Client) Up(ctx context.Context, q UpRequest) (*UpAnswer, error) {
	a := &UpAnswer{}
	return a, c.call(ctx, "POST", "/profiles", q, a)
}

// Down resets a profile.
func (c *Client) Down(ctx context.Context, profile string) (a DownAnswer, err error) {
	return a, c.call(ctx, "DELETE", "/profiles/"+profile, nil, &a)
}

// Shutdown ends the dispatcher.
func (c *Client) Shutdown(ctx context.Context) (a DownAnswer, err error) {
	return a, c.call(ctx, "POST", "/shutdown", nil, &a)
}

// Names mints the names of a plan.
func (c *Client) Names(ctx context.Context, profile string, q NamesRequest) (a NamesAnswer, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/names", q, &a)
}

// Launch starts workers.
func (c *Client) Launch(ctx context.Context, profile string, q LaunchRequest) (a host.Launched, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/launch", q, &a)
}

// Retire tells n workers to leave, all if n is below 0.
func (c *Client) Retire(ctx context.Context, profile string, n int) (a RetireAnswer, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/retire", map[string]int{"workers": n}, &a)
}

// Join makes a join string.
func (c *Client) Join(ctx context.Context, profile string, q JoinRequest) (a JoinAnswer, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/join", q, &a)
}

// Joins lists join strings, without their secrets, as JSON.
func (c *Client) Joins(ctx context.Context, list any) error {
	return c.call(ctx, "GET", "/joins", nil, list)
}

// Revoke ends a join string.
func (c *Client) Revoke(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/joins/"+id, nil, nil)
}

// Submit queues a task.
func (c *Client) Submit(ctx context.Context, profile string, q SubmitRequest) (a SubmitAnswer, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/submit", q, &a)
}

// Map queues tasks, one JSON object a line. Their random streams are those of the seed,
// if there is one, and else the profile's.
func (c *Client) Map(ctx context.Context, profile string, stop bool, seed rng.Streams, lines io.Reader) (a SubmitAnswer, err error) {
	out, err := c.do(ctx, "POST", fmt.Sprintf("/profiles/%s/map?stop=%t&seed=%v", profile, stop, seed), lines)
	if err != nil {
		return a, err
	}
	defer out.Close()
	return a, c.whole(ctx, json.NewDecoder(out).Decode(&a))
}

// Everywhere queues a task for every worker.
func (c *Client) Everywhere(ctx context.Context, profile string, q EverywhereRequest) (a SubmitAnswer, err error) {
	return a, c.call(ctx, "POST", "/profiles/"+profile+"/everywhere", q, &a)
}

// Wait waits for futures.
func (c *Client) Wait(ctx context.Context, q WaitRequest) (a WaitAnswer, err error) {
	return a, c.call(ctx, "POST", "/wait", q, &a)
}

// Future returns how a future stands.
func (c *Client) Future(ctx context.Context, id dispatcher.ID) (s dispatcher.FutureStatus, err error) {
	return s, c.call(ctx, "GET", fmt.Sprintf("/futures/%d", id), nil, &s)
}

// Results calls f with each result of a future as they resolve. Until it returns, the
// outputs can be had by Stream, even if somebody forgets the future meanwhile.
func (c *Client) Results(ctx context.Context, id dispatcher.ID, f func(*Result) error) error {
	return c.ResultsFrom(ctx, id, 0, f)
}

// ResultsFrom is Results without the first n, which the caller has.
func (c *Client) ResultsFrom(ctx context.Context, id dispatcher.ID, n int, f func(*Result) error) error {
	return c.results(ctx, fmt.Sprintf("/futures/%d/results?order=resolved&hold=true&from=%d", id, n), f)
}

func (c *Client) results(ctx context.Context, path string, f func(*Result) error) error {
	out, err := c.do(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer out.Close()
	dec := json.NewDecoder(out)
	for {
		r := &Result{}
		err := dec.Decode(r)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return c.whole(ctx, err)
		case r.Index == 0: // the answer is held
			return nil
		}
		if err := f(r); err != nil {
			return err
		}
	}
}

// InOrder calls f with each result of a future in the order of the inputs.
func (c *Client) InOrder(ctx context.Context, id dispatcher.ID, f func(*Result) error) error {
	return c.results(ctx, fmt.Sprintf("/futures/%d/results?hold=true", id), f)
}

// Stream copies the whole of a result's stdout or stderr to w.
func (c *Client) Stream(ctx context.Context, id dispatcher.ID, index int, stream string, w io.Writer) error {
	out, err := c.do(ctx, "GET", fmt.Sprintf("/futures/%d/results/%d/%s", id, index, stream), nil)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(w, out)
	return c.whole(ctx, err)
}

// Cancel ends a future, and reports whether it was unresolved.
func (c *Client) Cancel(ctx context.Context, id dispatcher.ID) (a CancelAnswer, err error) {
	return a, c.call(ctx, "POST", fmt.Sprintf("/futures/%d/cancel", id), nil, &a)
}

// Finish says what came of a task of a sync profile.
func (c *Client) Finish(ctx context.Context, id dispatcher.ID, q FinishRequest) error {
	return c.call(ctx, "POST", fmt.Sprintf("/futures/%d/finish", id), q, nil)
}

// Forget drops a future and its results.
func (c *Client) Forget(ctx context.Context, id dispatcher.ID) error {
	return c.call(ctx, "DELETE", fmt.Sprintf("/futures/%d", id), nil, nil)
}
