package queue

// heap is a binary heap that tells its items where they are, so that any of
// them can be moved or removed in O(log n).
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	moved func(item T, index int) // nil if nobody asks; index -1 when removed
}

func (h *heap[T]) top() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.put(len(h.items)-1, item)
	h.up(len(h.items) - 1)
}

func (h *heap[T]) pop() { h.remove(0) }

func (h *heap[T]) remove(i int) {
	last := len(h.items) - 1
	gone, moved := h.items[i], h.items[last]
	clear(h.items[last:])
	h.items = h.items[:last]
	if i < last {
		h.put(i, moved)
		h.fix(i)
	}
	if h.moved != nil {
		h.moved(gone, -1)
	}
}

// fix restores the order after the key of the one item at i changed.
func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

// clear empties a heap whose items do not ask where they are, and gives its
// memory back.
func (h *heap[T]) clear() { h.items = nil }

func (h *heap[T]) put(i int, item T) {
	h.items[i] = item
	if h.moved != nil {
		h.moved(item, i)
	}
}

func (h *heap[T]) swap(i, j int) {
	a, b := h.items[i], h.items[j]
	h.put(i, b)
	h.put(j, a)
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) (moved bool) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return moved
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			return moved
		}
		h.swap(i, child)
		i, moved = child, true
	}
}
