package queue

import "slices"

// gate counts queued bytes. It is open while fewer are queued than the limit; a
// task enters whole, whatever its size. Those who wait enter in the order in
// which they came: each is granted room of the size that it asked for, which
// counts until it is used or given back.
type gate struct {
	limit      int64 // 0 is none
	used, peak int64
	granted    int64 // room that was granted and not used
	line       []Place
	sizes      map[Place]int64 // of those in line, and of those granted
	last       Place
}

// Place is a place in the line before the gate, and then the room granted to it.
type Place uint64

func (g *gate) add(n int64) {
	g.used += n
	g.peak = max(g.peak, g.used)
}

func (g *gate) room() bool { return g.limit <= 0 || g.used+g.granted < g.limit }

// Bytes returns how many bytes are queued now, and how many were at most.
func (q *Queue[P]) Bytes() (used, peak int64) { return q.gate.used, q.gate.peak }

// Open reports whether a task may be pushed now: there is room, and nobody waits.
func (q *Queue[P]) Open() bool { return len(q.gate.line) == 0 && q.gate.room() }

// Wait takes a place in line for a task of a size. Grants tells when it may be
// pushed; the place is then given up with Quit, right before.
func (q *Queue[P]) Wait(size int64) Place {
	g := &q.gate
	g.last++
	g.line = append(g.line, g.last)
	if g.sizes == nil {
		g.sizes = make(map[Place]int64)
	}
	g.sizes[g.last] = max(size, 0)
	return g.last
}

// Grants returns the places for which there is room now, each once.
func (q *Queue[P]) Grants() (list []Place) {
	g := &q.gate
	for len(g.line) > 0 && g.room() {
		g.granted += g.sizes[g.line[0]]
		list = append(list, g.line[0])
		g.line = g.line[1:]
	}
	return list
}

// Quit leaves the line, or gives back the room that was granted.
func (q *Queue[P]) Quit(p Place) {
	g := &q.gate
	size, ok := g.sizes[p]
	if !ok {
		return
	}
	delete(g.sizes, p)
	if i := slices.Index(g.line, p); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		return
	}
	g.granted -= size
}
