package results

import "iter"

// window is a list whose head goes when all of it is dead, while the places of the
// others stay what they were.
type window[T any] struct {
	first int // the place of items[0]
	items []T
	dead  int // items at the head that are known to be dead
}

// trimAt is how many dead items make it worth while to move the others.
const trimAt = 1024

// at returns what is at a place, and whether that is within the window.
func (w *window[T]) at(place int) (item T, there bool) {
	if i := place - w.first; i >= 0 && i < len(w.items) {
		return w.items[i], true
	}
	return item, false
}

// set puts an item at a place, which may be beyond the end.
func (w *window[T]) set(place int, item T) {
	var none T
	for w.end() <= place {
		w.items = append(w.items, none)
	}
	if i := place - w.first; i >= 0 {
		w.items[i] = item
	}
}

func (w *window[T]) push(item T) { w.items = append(w.items, item) }

// end is the place behind the last item.
func (w *window[T]) end() int { return w.first + len(w.items) }

// all returns the items with their places.
func (w *window[T]) all() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		for i, item := range w.items {
			if !yield(w.first+i, item) {
				return
			}
		}
	}
}

// trim takes dead items off the head when they are many, so that each is looked at
// and moved a bounded number of times.
func (w *window[T]) trim(dead func(T) bool) {
	for w.dead < len(w.items) && dead(w.items[w.dead]) {
		w.dead++
	}
	if w.dead < trimAt || w.dead < len(w.items)/2 {
		return
	}
	w.items = append(w.items[:0:0], w.items[w.dead:]...)
	w.first += w.dead
	w.dead = 0
}
