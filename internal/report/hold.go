package report

import (
	"container/heap"
	"fmt"
)

// holdMemory is how many bytes of waiting outputs stay in memory, in all; what
// comes on top waits in files.
const holdMemory = 32 << 20

// hold keeps items until every one of a lower index has been taken out.
type hold struct {
	turn   int // the index whose turn it is
	items  byIndex
	memory int64
}

func newHold() *hold { return &hold{turn: 1} }

// put adds an item. When it fails the item is held all the same, in memory.
func (h *hold) put(item *Item) error {
	var err error
	if h.memory+item.Output.Memory() > holdMemory && item.Result.Index > h.turn {
		if err = item.Output.Park(); err != nil {
			err = fmt.Errorf("hold %s: %w", label(&item.Result), err)
		}
	}
	h.memory += item.Output.Memory()
	heap.Push(&h.items, item)
	return err
}

// next takes out the item whose turn it is, or that is late; nil if there is
// none.
func (h *hold) next() *Item {
	if len(h.items) == 0 || h.items[0].Result.Index > h.turn {
		return nil
	}
	return h.pop()
}

// pop takes out the lowest item; nil if there is none.
func (h *hold) pop() *Item {
	if len(h.items) == 0 {
		return nil
	}
	item := heap.Pop(&h.items).(*Item)
	h.memory -= item.Output.Memory()
	h.turn = max(h.turn, item.Result.Index+1)
	return item
}

// byIndex is a heap of items.
type byIndex []*Item

func (b byIndex) Len() int           { return len(b) }
func (b byIndex) Less(i, j int) bool { return b[i].Result.Index < b[j].Result.Index }
func (b byIndex) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *byIndex) Push(item any)     { *b = append(*b, item.(*Item)) }

func (b *byIndex) Pop() any {
	last := len(*b) - 1
	item := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return item
}
