package share

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// idle is how long a mapping stays that nobody uses. To map 100 MB anew costs much more
// than what a short task does with them, and tasks that come one after another use the
// same.
const idle = 5 * time.Second

// mapping is a segment in the address space of this process.
type mapping struct {
	id   string
	data []byte

	users int         // guarded by addressSpace.mu
	end   *time.Timer // so is this: unmaps it when it has been idle for long
}

// noMapping is of a segment without bytes, and of a view that is closed.
var noMapping = &mapping{}

// addressSpace has the mappings of this process.
type addressSpace struct {
	mu sync.Mutex // guards by
	by map[string]*mapping
}

var mappings = addressSpace{by: map[string]*mapping{}}

// take returns the mapping of a segment, and makes it if there is none. Whoever calls it
// calls giveBack.
func (a *addressSpace) take(r Ref) (*mapping, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.by[r.ID]
	if m == nil || int64(len(m.data)) != r.Bytes {
		fresh, err := mapSegment(r)
		if err != nil || fresh == noMapping {
			return fresh, err
		}
		m = fresh
		a.by[r.ID] = m
	}
	m.users++
	m.end.Stop()
	return m, nil
}

// mapSegment maps a segment.
func mapSegment(r Ref) (*mapping, error) {
	f, err := r.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch {
	case r.Bytes == 0:
		return noMapping, nil
	case r.Bytes > math.MaxInt:
		return nil, fmt.Errorf("map the share at %s: its %d bytes are more than this program can address", r.Path(), r.Bytes)
	}
	m := &mapping{id: r.ID}
	if m.data, err = unix.Mmap(int(f.Fd()), 0, int(r.Bytes), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map the %d bytes of the share at %s: %w", r.Bytes, r.Path(), err)
	}
	m.end = time.AfterFunc(time.Hour, func() { mappings.drop(m) })
	return m, nil
}

// giveBack says that somebody uses a mapping no more.
func (a *addressSpace) giveBack(m *mapping) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.users--; m.users == 0 {
		m.end.Reset(idle)
	}
}

// drop unmaps what nobody uses.
func (a *addressSpace) drop(m *mapping) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.users > 0 || m.data == nil {
		return
	}
	unix.Munmap(m.data)
	m.data = nil
	delete(a.by, m.id)
}
