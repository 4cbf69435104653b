package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"muster/internal/host"
	"muster/task"
)

// putPatience is how long a client that puts a share may send nothing, while room is
// set aside for it.
const putPatience = time.Minute

// SharesAnswer lists shares.
type SharesAnswer struct {
	Shares []host.ShareStatus `json:"shares"`
}

// putShare shares the body of the request, which is read as fast as it comes.
func (s *Server) putShare(w http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	body := &patientBody{r.Body, http.NewResponseController(w), putPatience}
	st, err := p.Shares.Put(r.PathValue("name"), r.ContentLength, r.URL.Query().Get("replace") == "true", body)
	body.control.SetReadDeadline(time.Time{})
	return st, shareError(err)
}

// patientBody is a request's body of which each read is waited for so long.
type patientBody struct {
	io.Reader
	control  *http.ResponseController
	patience time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(b.patience))
	n, err := b.Reader.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came for %v", b.patience)
	}
	return n, err
}

func (s *Server) listShares(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	return SharesAnswer{p.Shares.List()}, nil
}

// removeShares removes one share or, of names that are separated by commas, all.
func (s *Server) removeShares(_ http.ResponseWriter, r *http.Request) (any, error) {
	p, err := s.profile(r)
	if err != nil {
		return nil, err
	}
	list, err := p.Shares.Remove(strings.Split(r.PathValue("name"), ","))
	if err != nil {
		return nil, shareError(err)
	}
	return SharesAnswer{list}, nil
}

// shareError is an error of shares as clients get it.
func shareError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, host.ErrShareName):
		return bad("%v", err)
	case errors.Is(err, host.ErrShareThere):
		return &Error{http.StatusConflict, "exists", err.Error(), "--replace puts another in its place; tasks that are queued keep the old one"}
	case errors.Is(err, host.ErrSharePut):
		return &Error{http.StatusConflict, "exists", err.Error(), "try again when that has ended, or take another name"}
	case errors.Is(err, host.ErrNoShare):
		return &Error{http.StatusNotFound, "unknown", err.Error(), "`muster share put NAME FILE` makes one"}
	case errors.Is(err, host.ErrShareLimit):
		return &Error{http.StatusInsufficientStorage, "failed", err.Error(), "`muster share list` shows what takes it, `muster share rm NAME` frees some, and share_limit in the profile says how much there may be"}
	}
	return err
}

// holds keep what the tasks of one map need: a hold for all that need the same.
type holds struct {
	of *host.Shares
	by map[string]*listed
}

// listed is a hold with what it lists.
type listed struct {
	*host.Hold
	shares []task.Share
}

// list returns what a task can read that needs the shares of some names.
func (h *holds) list(needed []string) ([]task.Share, error) {
	key := strings.Join(needed, ",")
	if l := h.by[key]; l != nil {
		return l.shares, nil
	}
	hold, err := h.of.Hold(needed)
	if err != nil {
		return nil, err
	}
	if h.by == nil {
		h.by = map[string]*listed{}
	}
	h.by[key] = &listed{hold, hold.List()}
	return h.by[key].shares, nil
}

// all returns what any of the tasks can read.
func (h *holds) all() []task.Share {
	var all []task.Share
	for _, l := range h.by {
		for _, sh := range l.shares {
			if !slices.ContainsFunc(all, func(o task.Share) bool { return o.Name == sh.Name }) {
				all = append(all, sh)
			}
		}
	}
	return all
}

func (h *holds) release() {
	for _, l := range h.by {
		l.Release()
	}
}

// releaseAfter releases them when done is closed.
func (h *holds) releaseAfter(done <-chan struct{}) {
	for _, l := range h.by {
		l.ReleaseAfter(done)
	}
}

// PutShare shares what r has. A size of 0 or more is how many bytes these are.
func (c *Client) PutShare(ctx context.Context, profile, name string, size int64, replace bool, r io.Reader) (st host.ShareStatus, err error) {
	path := fmt.Sprintf("/profiles/%s/shares/%s?replace=%t", profile, url.PathEscape(name), replace)
	return st, c.callWith(ctx, "PUT", path, sized{r, size}, &st)
}

// sized is a body whose length is known, if it is 0 or more.
type sized struct {
	io.Reader
	n int64
}

// frame says how long a request's body is, and that it is sent when the dispatcher
// wants it: what it refuses is refused before.
func (b sized) frame(q *http.Request) {
	q.ContentLength = b.n
	q.Header.Set("Expect", "100-continue")
	if b.n == 0 {
		q.Body = http.NoBody
	}
}

// Shares lists shares.
func (c *Client) Shares(ctx context.Context, profile string) (a SharesAnswer, err error) {
	return a, c.call(ctx, "GET", "/profiles/"+profile+"/shares", nil, &a)
}

// RemoveShares removes shares, all or none.
func (c *Client) RemoveShares(ctx context.Context, profile string, names []string) (a SharesAnswer, err error) {
	return a, c.call(ctx, "DELETE", "/profiles/"+profile+"/shares/"+url.PathEscape(strings.Join(names, ",")), nil, &a)
}
