package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/config"
	"muster/internal/plan"
)

// service is a service of a user's own that starts workers.
type service struct{ apart }

var _ backend = service{}

func addressService(k plan.Kind, r *Record) {
	if h := k.(*plan.HTTP); len(h.Starts) > 0 {
		r.Service = mhttp.Origin(h.Starts[0].Request)
	}
}

func newService(at place, r *Record) (backend, error) {
	f, err := fleetOf(at, r)
	return service{apart{f, r.Launcher, r.Service}}, err
}

func (s service) prepare(_ context.Context, p *plan.Plan, _ int) (*plan.Plan, error) { return p, nil }

func (s service) describe(p *plan.Plan, i int, part plan.Part, r *Record) {
	start := p.Kind.(*plan.HTTP).Starts[i]
	r.Array, r.how, r.part = array(part.Indices), p.Kind, i
	r.Index, r.Of = i+1, p.Workers()
	r.Blind, r.Endless = start.Follow.Status.IsZero(), start.Follow.Cancel.IsZero()
}

// start sends the request. What a service calls that which it has started is the
// record's Theirs; its ID is the launch's name.
func (s service) start(ctx context.Context, p *plan.Plan, i int, r *Record, _ string) (outcome, error) {
	k := p.Kind.(*plan.HTTP)
	start := k.Starts[i]
	a, err := s.web(k).client.Do(ctx, start.Request)
	if done, err := s.judge(ctx, r, start.Request.Method, a, err); done != started {
		return done, err
	}
	if start.Follow.ID.IsZero() || r.answer.Status == 0 {
		return started, nil
	}
	id, err := start.Follow.ID.String(config.Known{"answer": answered(a)})
	if err == nil {
		err = checkID(id)
	}
	if err != nil && a.HTML() {
		return nothing, fmt.Errorf("%s %s: it answered with a page for people, as services do that want a login: write the right url, and see that the credentials are good: %s", start.Request.Method, s.service, a.Text())
	}
	if err != nil {
		r.Blind, r.Endless = true, true
		s.note(ctx, r, "launcher %s: what %s has started for %s has no id by which it could be asked about or ended: %v; it answered %s", r.Launcher, s.service, r.Launch, unread(a, err), a.Text())
		return started, nil
	}
	r.Theirs = id
	return started, nil
}

// unread is why an expression over an answer has failed: answer.json is null if the
// answer is none, which is the reason then.
func unread(a mhttp.Answer, err error) error {
	if _, bad := a.JSON(); bad == nil {
		return err
	}
	if a.Truncated {
		return fmt.Errorf("its answer has more than %d bytes, of which the rest was not read (%w)", len(a.Body), err)
	}
	return fmt.Errorf("its answer is no JSON (%w)", err)
}

// unheard reports whether an answer is that of a gateway, which does not know what has
// come of the request behind it.
func unheard(a mhttp.Answer) bool {
	return a.Status == http.StatusBadGateway || a.Status == http.StatusGatewayTimeout
}

// judge says what has come of a request to start something. When nobody knows, it is
// believed to be started: its worker will say so.
func (s apart) judge(ctx context.Context, r *Record, method string, a mhttp.Answer, err error) (outcome, error) {
	switch {
	case errors.Is(err, mhttp.ErrNotSent), err != nil && a.Status >= 400 && a.Status < 500: // it is refused, however the answer ends
		return nothing, err
	case err == nil && a.OK():
		r.ID, r.answer = r.Launch, a
		return started, nil
	case err == nil && !unheard(a):
		return nothing, fmt.Errorf("%s %s: it answered %s", method, s.service, a.Text())
	case err == nil:
		err = fmt.Errorf("it answered %s", a.Text())
	}
	r.ID, r.Blind, r.Endless = r.Launch, true, true
	s.note(ctx, r, "launcher %s: it is not known whether %s has started anything for %s: %v; what it has may still come, and it cannot be taken back but by its worker", r.Launcher, s.service, r.Launch, err)
	if ctx.Err() != nil {
		return started, ctx.Err()
	}
	return started, nil
}

// note tells the user what is to be known of a job, and whoever has its start given up.
func (a apart) note(ctx context.Context, r *Record, format string, args ...any) {
	r.note = fmt.Sprintf(format, args...)
	a.f.Say("%s", r.note)
	if ctx.Err() != nil {
		a.f.lock()
		a.f.notes = append(a.f.notes, r.note)
		a.f.mu.Unlock()
	}
}

func (s service) web(k *plan.HTTP) *web { return s.f.web(asked{s.launcher, s.service, k.Web}) }

func (s service) find(context.Context, *Record) ([]string, error) {
	return nil, errors.New("it cannot be looked for by name")
}

// answered is an answer as expressions see it: answer.json is null if it is none.
func answered(a mhttp.Answer) map[string]any {
	headers := map[string]string{}
	for name, values := range a.Headers {
		if len(values) > 0 {
			headers[strings.ToLower(name)] = values[0]
		}
	}
	body, err := a.JSON()
	if err != nil {
		body = nil
	}
	return map[string]any{"status": a.Status, "headers": headers, "body": a.Body, "json": body}
}

// known is what the expressions of a record know beside an answer.
func (r *Record) known() config.Known {
	return config.Known{"id": r.theirs(), "answer": answered(r.answer)}
}

// follow evaluates an expression over what was answered when a job was started, which
// another process does not know.
func (r *Record) follow(f config.Formula) (string, error) {
	text, err := f.String(r.known())
	if err != nil && r.answer.Status == 0 {
		err = hopeless{fmt.Errorf("%w: what %s answered when it was started is not known any more, but for id: have id say what url needs", err, r.Service)}
	}
	return text, err
}

func (s service) list(ctx context.Context, records []*Record, _ detail) ([]hpc.Element, error) {
	return askEach(records, atOnce, func(r *Record) ([]hpc.Element, error) {
		if r.Blind {
			return elements(r, hpc.Element{Raw: unseen}), nil
		}
		k, i, err := s.how(ctx, r)
		if err != nil {
			return nil, err
		}
		return s.ask(ctx, k.(*plan.HTTP), i, r)
	})
}

// ask asks how one job stands. One that the service does not know is left out.
func (s service) ask(ctx context.Context, k *plan.HTTP, i int, r *Record) ([]hpc.Element, error) {
	start := k.Starts[i]
	request, err := r.about(start.Request, start.Follow.StatusMethod, start.Follow.Status, "")
	if err != nil {
		return nil, err
	}
	a, err := s.web(k).client.Do(ctx, request)
	switch {
	case err != nil:
		return nil, err
	case a.Status == http.StatusGone || a.Status == http.StatusNotFound && s.cancelled(r):
		return elements(r, hpc.Element{State: hpc.Ended, Raw: "no longer known there", End: hpc.EndOrdinary}), nil
	case a.Status == http.StatusNotFound:
		return nil, nil
	case !a.OK():
		return nil, fmt.Errorf("%s answered %s", s.service, a.Text())
	}
	known := r.known()
	known["answer"] = answered(a)
	word, err := state(start.Follow.State, known, a)
	if err != nil {
		return nil, fmt.Errorf("%w; %s answered %s", unread(a, err), s.service, a.Text())
	}
	return elements(r, s.says(r, word, start.Follow.States)), nil
}

// cancelled reports whether the service has taken an order to end a job.
func (s service) cancelled(r *Record) bool {
	s.f.lock()
	defer s.f.mu.Unlock()
	return r.cancelled
}

// state is the word for how a job stands.
func state(f config.Formula, known config.Known, a mhttp.Answer) (string, error) {
	if !f.IsZero() {
		return f.String(known)
	}
	body, err := a.JSON()
	if err != nil {
		return "", errors.New("answer.json.state is not there")
	}
	fields, _ := body.(map[string]any)
	for _, name := range []string{"state", "status"} {
		switch word := fields[name].(type) {
		case string:
			return word, nil
		case json.Number:
			return word.String(), nil
		}
	}
	return "", errors.New("its answer has neither state nor status: set state in the block status")
}

// about is a request about what another one has started, where url says: with its headers,
// but those that speak of its body. They go to another host than that of the start only
// if the config names it, and not because the service says so.
func (r *Record) about(start mhttp.Request, method string, url config.Formula, body string) (mhttp.Request, error) {
	text, err := r.follow(url)
	if err != nil {
		return mhttp.Request{}, err
	}
	where := fmt.Sprintf("%s:%d:%d", url.File, url.Line, url.Column)
	address, same, err := start.About(text)
	if err != nil {
		return mhttp.Request{}, hopeless{fmt.Errorf("%s: where %s is to be asked: %w", where, r.Service, err)}
	}
	if !same && !mhttp.Names(url.Begin("id", "answer"), address) {
		return mhttp.Request{}, hopeless{fmt.Errorf("%s: the answer of %s leads to %s: muster sends no credentials to a host that only an answer names; if it is right, have url begin with that", where, r.Service, mhttp.Origin(mhttp.Request{URL: address}))}
	}
	q := mhttp.Request{Method: method, URL: address, Socket: start.Socket, Body: body, Secrets: start.Secrets}
	for _, h := range start.Headers {
		switch strings.ToLower(h.Name) {
		case "idempotency-key":
			continue
		case "content-type":
			if body == "" {
				continue
			}
		}
		q.Headers = append(q.Headers, h)
	}
	return q, nil
}

func (s service) cancel(ctx context.Context, r *Record, indices ...int) error {
	if r.Endless {
		return errNoCancel
	}
	k, i, err := s.how(ctx, r)
	if err != nil {
		return err
	}
	start := k.(*plan.HTTP).Starts[i]
	body := ""
	if !start.Follow.CancelData.IsZero() {
		if body, err = r.follow(start.Follow.CancelData); err != nil {
			return err
		}
	}
	request, err := r.about(start.Request, start.Follow.CancelMethod, start.Follow.Cancel, body)
	if err != nil {
		return err
	}
	a, err := s.web(k.(*plan.HTTP)).client.Do(ctx, request)
	if err == nil && !a.OK() && a.Status != http.StatusNotFound && a.Status != http.StatusGone {
		err = fmt.Errorf("%s %s: it answered %s", start.Follow.CancelMethod, s.service, a.Text())
	}
	if err != nil {
		if r.Blind || ctx.Err() != nil {
			return err
		}
		// Some refuse to end what has ended, or lead to a page about it.
		if list, failed := s.list(ctx, []*Record{r}, standing); failed != nil || !over(list) {
			return err
		}
	}
	s.f.lock()
	r.cancelled = true
	s.f.mu.Unlock()
	return nil
}

// over reports whether elements have ended, or are not known.
func over(list []hpc.Element) bool {
	return !slices.ContainsFunc(list, func(e hpc.Element) bool { return e.State != hpc.Ended })
}

func (s service) late(*Record) string { return s.service + " has not answered" }

// command is nothing: whoever would paste it would need the launcher's secrets.
func (s service) command(*Record) []string { return nil }

func (s service) rules() rules { return rules{atOnce: atOnce, lags: true, away: true} }
