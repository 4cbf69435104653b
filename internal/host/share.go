package host

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xrash/smetrics"

	"muster/share"
	"muster/task"
)

// maxShares bounds how many shares a profile has: each is a descriptor here, and a
// variable of every task.
const maxShares = 1000

// maxNames is how many names of shares an error lists.
const maxNames = 10

// Errors of shares. Each comes with the figures or the names that belong to it.
var (
	ErrShareName  = errors.New("is no name of a share: it has letters, digits and _, 64 at most, and no digit first")
	ErrShareThere = errors.New("is there already")
	ErrSharePut   = errors.New("is being put by somebody now")
	ErrNoShare    = errors.New("there is no share")
	ErrShareLimit = errors.New("there is no room")
)

// Shares are what the tasks of one profile read in memory. They are safe for
// concurrent use.
type Shares struct {
	profile string
	say     func(format string, args ...any)
	onDisk  sync.Once        // says that they are not in memory here
	freed   func(ref string) // is told that nobody needs a share any more

	mu      sync.Mutex // guards all below
	limit   int64      // bytes; 0 until it is known
	named   map[string]*shared
	putting map[string]bool
	removed map[*shared]bool // those that somebody still refers to
	bytes   int64            // of all of these
	current []task.Share     // of named; never changed, but replaced
	over    bool
}

// shared is one share.
type shared struct {
	name    string
	segment *share.Segment
	ref     string // of the segment, as JSON
	created time.Time
	holds   int // futures that refer to it
}

// ShareStatus is how a share stands.
type ShareStatus struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`
	// Path is where programs of this machine read it.
	Path string `json:"path"`
	// Futures is how many that are unresolved refer to it.
	Futures int `json:"futures"`
	// Removed says that it is gone for those who come now.
	Removed bool `json:"removed,omitempty"`
}

// NewShares returns the shares of a profile; without a limit it is half of the memory
// that is available when the first is put.
func NewShares(profile string, limit int64, say func(format string, args ...any)) *Shares {
	return &Shares{profile: profile, limit: limit, say: say, freed: func(string) {}, named: map[string]*shared{}, putting: map[string]bool{}, removed: map[*shared]bool{}}
}

// Put shares what r has to its end. A size of 0 or more is how many bytes that will be,
// for which room is set aside before anything is read.
func (s *Shares) Put(name string, size int64, replace bool, r io.Reader) (ShareStatus, error) {
	if err := s.begin(name, replace); err != nil {
		return ShareStatus{}, err
	}
	room := &room{of: s, name: name}
	segment, err := room.fill(size, r)
	if err == nil {
		room.cut(segment.Ref().Bytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.putting, name)
	if err == nil && s.over {
		segment.Close()
		err = fmt.Errorf("put share %s: profile %s has ended", name, s.profile)
	}
	if err != nil {
		s.bytes -= room.taken
		return ShareStatus{}, err
	}
	if old := s.named[name]; old != nil {
		s.remove(old)
	}
	sh := &shared{name: name, segment: segment, ref: segment.Ref().String(), created: time.Now()}
	s.named[name] = sh
	s.changed()
	if segment.Ref().File != "" {
		s.onDisk.Do(func() {
			s.say("this system keeps no shares in memory: they are files in %s until they are removed", os.TempDir())
		})
	}
	return sh.status(), nil
}

// begin takes a name for a share that is about to be put.
func (s *Shares) begin(name string, replace bool) error {
	if !task.ValidShare(name) {
		return fmt.Errorf("%q %w", name, ErrShareName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.putting[name]:
		return fmt.Errorf("share %s %w", name, ErrSharePut)
	case s.named[name] != nil && !replace:
		return fmt.Errorf("share %s %w, with %d bytes", name, ErrShareThere, s.named[name].segment.Ref().Bytes)
	case s.named[name] == nil && len(s.named)+len(s.putting) >= maxShares:
		return fmt.Errorf("%w for share %s: profile %s has %d, which are the most", ErrShareLimit, name, s.profile, maxShares)
	}
	if s.limit == 0 {
		left, err := share.Available()
		if err != nil {
			return fmt.Errorf("put share %s: %w", name, err)
		}
		s.limit = left / 2
	}
	s.putting[name] = true
	return nil
}

// room is what a share that is being put has of the limit.
type room struct {
	of    *Shares
	name  string
	taken int64
}

// take has the room be n bytes in all.
func (r *room) take(n int64) error {
	s := r.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := n - r.taken; s.bytes+more > s.limit {
		return fmt.Errorf("%w for %d bytes of share %s: profile %s may share %d bytes, and others have %d of them", ErrShareLimit, n, r.name, s.profile, s.limit, s.bytes-r.taken)
	}
	s.bytes += n - r.taken
	r.taken = n
	return nil
}

// cut gives back what is beyond n bytes.
func (r *room) cut(n int64) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.bytes -= r.taken - n
	r.taken = n
}

// fill copies what in has to its end into a segment.
func (r *room) fill(size int64, in io.Reader) (*share.Segment, error) {
	if size >= 0 {
		if err := r.take(size); err != nil {
			return nil, err
		}
	}
	w, err := share.Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	if size >= 0 {
		if err := w.Reserve(size); err != nil {
			return nil, err
		}
	}
	if err := r.copy(w, in); err != nil {
		return nil, err
	}
	return w.Seal()
}

// copy writes what in has to its end, for which it takes room as it goes.
func (r *room) copy(w *share.Writer, in io.Reader) error {
	buf := make([]byte, min(max(r.taken, 4<<10), 1<<20))
	for {
		n, err := in.Read(buf)
		if end := w.Size() + int64(n); end > r.taken {
			if err := r.take(end); err != nil {
				return err
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read share %s after %d bytes: %w", r.name, w.Size(), err)
		}
	}
}

// Remove takes shares away from those who come now. Tasks that were queued before keep
// them, and the memory is freed when these have ended. If one of them is not there,
// nothing is removed.
func (s *Shares) Remove(names []string) ([]ShareStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.has(names); err != nil {
		return nil, err
	}
	var list []ShareStatus
	for _, name := range names {
		if sh := s.named[name]; sh != nil { // it may be named twice
			s.remove(sh)
			list = append(list, sh.status())
			list[len(list)-1].Removed = true
		}
	}
	s.changed()
	return list, nil
}

// remove takes a share's name, and its memory if nobody refers to it. The caller holds
// mu.
func (s *Shares) remove(sh *shared) {
	delete(s.named, sh.name)
	s.removed[sh] = true
	s.free(sh)
}

// free gives up the memory of what was removed and nobody refers to. The caller holds
// mu.
func (s *Shares) free(sh *shared) {
	if s.removed[sh] && sh.holds == 0 {
		delete(s.removed, sh)
		s.bytes -= sh.segment.Ref().Bytes
		sh.segment.Close()
		go s.freed(sh.ref) // which locks the pool, as does who locks mu
	}
}

// has refuses names that no share has, and says which there are, the most alike first.
// The caller holds mu.
func (s *Shares) has(names []string) error {
	for _, name := range names {
		if s.named[name] != nil {
			continue
		}
		there := slices.Collect(maps.Keys(s.named))
		slices.SortFunc(there, func(a, b string) int {
			return cmp.Or(cmp.Compare(smetrics.JaroWinkler(b, name, 0.7, 4), smetrics.JaroWinkler(a, name, 0.7, 4)), cmp.Compare(a, b))
		})
		if len(there) == 0 {
			return fmt.Errorf("%w %q in profile %s, and no other", ErrNoShare, name, s.profile)
		}
		if len(there) > maxNames {
			there = append(there[:maxNames:maxNames], fmt.Sprintf("and %d more", len(s.named)-maxNames))
		}
		return fmt.Errorf("%w %q in profile %s; there are %s", ErrNoShare, name, s.profile, strings.Join(there, ", "))
	}
	return nil
}

// changed makes the list of what there is anew. The caller holds mu.
func (s *Shares) changed() {
	s.current = nil
	for _, name := range slices.Sorted(maps.Keys(s.named)) {
		s.current = append(s.current, task.Share{Name: name, Ref: s.named[name].ref})
	}
}

// List returns how all shares stand, those first that have a name.
func (s *Shares) List() []ShareStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []ShareStatus{}
	for _, name := range slices.Sorted(maps.Keys(s.named)) {
		list = append(list, s.named[name].status())
	}
	named := len(list)
	for sh := range s.removed {
		list = append(list, sh.status())
		list[len(list)-1].Removed = true
	}
	slices.SortFunc(list[named:], func(a, b ShareStatus) int { return a.Created.Compare(b.Created) })
	return list
}

func (sh *shared) status() ShareStatus {
	ref := sh.segment.Ref()
	return ShareStatus{Name: sh.name, Bytes: ref.Bytes, Created: sh.created, Path: ref.Path(), Futures: sh.holds}
}

// SharesInfo is how much a profile shares.
type SharesInfo struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
	Limit int64 `json:"limit"` // of Bytes; 0 if it is not known before one is put
}

// Info returns how much is shared: by how many, and in bytes.
func (s *Shares) Info() SharesInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SharesInfo{Count: len(s.named) + len(s.removed), Bytes: s.bytes, Limit: s.limit}
}

// Current returns what a task that begins now can read, and does not need.
func (s *Shares) Current() []task.Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Hold keeps the shares that some tasks need, until Release.
type Hold struct {
	of   *Shares
	held []*shared
	need []task.Share
}

// Hold returns a hold on the shares of some names, all of which must be there.
func (s *Shares) Hold(names []string) (*Hold, error) {
	h := &Hold{of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.has(names); err != nil {
		return nil, err
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		sh := s.named[name]
		sh.holds++
		h.held = append(h.held, sh)
		h.need = append(h.need, task.Share{Name: name, Ref: sh.ref, Needed: true})
	}
	return h, nil
}

// List returns what a task that begins now can read: what is held, which it needs, and
// all else that there is.
func (h *Hold) List() []task.Share {
	current := h.of.Current()
	if len(h.need) == 0 {
		return current
	}
	list := slices.Clone(h.need)
	for _, sh := range current {
		if !slices.ContainsFunc(h.need, func(n task.Share) bool { return n.Name == sh.Name }) {
			list = append(list, sh)
		}
	}
	return list
}

// Release says that nobody needs what is held any more. It is called once.
func (h *Hold) Release() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	for _, sh := range h.held {
		sh.holds--
		h.of.free(sh)
	}
}

// ReleaseAfter releases the hold when done is closed.
func (h *Hold) ReleaseAfter(done <-chan struct{}) {
	if len(h.held) == 0 {
		return
	}
	go func() {
		<-done
		h.Release()
	}()
}

// end frees everything, whoever refers to it.
func (s *Shares) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, sh := range s.named {
		s.remove(sh)
	}
	for sh := range s.removed {
		sh.holds = 0
		s.free(sh)
	}
	s.current = nil
}
