package queue

import "muster/task"

// chunkSize is how many tasks share one allocation: large enough that a
// chunk's own cost vanishes, small enough that one task which outlives its
// neighbours keeps little of their memory.
const chunkSize = 256

// entry is what is known of one task: 64 bytes beside the payload.
type entry[P any] struct {
	payload    P
	worker     *worker // whoever has it; while it is queued, whoever it is bound to, nil for anybody
	line       *line   // that it is queued in; nil if it is bound or not queued
	needs      *interned
	prev, succ task.ID // its neighbours in the line; 0 at the ends
	attempt    uint32  // assignments so far
	uncounted  uint32  // those of them that cost a lost task no try: it cannot have begun, or has failed
	avoid      uint64  // the epoch of the worker that lost it last: any other is better; 0 for none
	size       uint32  // bytes that it counts while it is queued
	state      task.State
	again      bool // it has been assigned before, or moved: it is in its line's front
	cancelling bool
	company    bool // it was lost beside others, any of which may have been the cause
}

type chunk[P any] struct {
	live    int
	entries [chunkSize]entry[P]
}

// store finds tasks by id in chunks of neighbouring ids. A chunk goes when
// the last of its tasks has. The state Done marks an entry that is gone.
type store[P any] struct {
	chunks map[uint64]*chunk[P]
	last   task.ID
	needs  map[Needs]*interned // of the tasks that have not ended
}

func place(id task.ID) (number uint64, index int) {
	return uint64(id-1) / chunkSize, int(uint64(id-1) % chunkSize)
}

// reserve takes the next id for something that is no task.
func (s *store[P]) reserve() task.ID {
	id, e := s.add(*new(P))
	s.remove(id, e)
	return id
}

func (s *store[P]) add(payload P) (task.ID, *entry[P]) {
	s.last++
	number, i := place(s.last)
	c := s.chunks[number]
	if c == nil {
		c = new(chunk[P])
		s.chunks[number] = c
	}
	c.live++
	c.entries[i] = entry[P]{payload: payload}
	return s.last, &c.entries[i]
}

// at returns the entry of a task that has not ended, or nil.
func (s *store[P]) at(id task.ID) *entry[P] {
	if id == 0 || id > s.last {
		return nil
	}
	number, i := place(id)
	c := s.chunks[number]
	if c == nil || c.entries[i].state == task.Done {
		return nil
	}
	return &c.entries[i]
}

func (s *store[P]) remove(id task.ID, e *entry[P]) P {
	payload := e.payload
	*e = entry[P]{state: task.Done}
	number, _ := place(id)
	c := s.chunks[number]
	c.live--
	full := uint64(s.last) >= (number+1)*chunkSize
	if c.live == 0 && full {
		delete(s.chunks, number)
	}
	return payload
}
