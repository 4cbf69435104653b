package queue

import "muster/task"

// chunkSize is how many tasks share one allocation: large enough that a
// chunk's own cost vanishes, small enough that one task which outlives its
// neighbours keeps little of their memory.
const chunkSize = 256

// entry is what is known of one task: 24 bytes beside the payload.
type entry[P any] struct {
	payload    P
	worker     *worker // whoever has it; while it is queued, whoever is to: round-robin's choice, nil for anybody
	attempt    uint32  // assignments so far
	returned   uint32  // those of them that came back unstarted
	slot       uint16  // index into worker.slots; meaningless when held
	state      task.State
	cancelling bool
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
}

func place(id task.ID) (number uint64, index int) {
	return uint64(id-1) / chunkSize, int(uint64(id-1) % chunkSize)
}

func (s *store[P]) add(payload P) task.ID {
	s.last++
	number, i := place(s.last)
	c := s.chunks[number]
	if c == nil {
		c = new(chunk[P])
		s.chunks[number] = c
	}
	c.live++
	c.entries[i] = entry[P]{payload: payload}
	return s.last
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

// from returns the first task at or after id that was never assigned and that
// anybody may have. There must be one.
func (s *store[P]) from(id task.ID) (task.ID, *entry[P]) {
	for {
		number, i := place(id)
		c := s.chunks[number]
		for c != nil && i < chunkSize {
			if e := &c.entries[i]; e.state == task.Queued && e.attempt == 0 && e.worker == nil {
				return task.ID(number*chunkSize) + task.ID(i) + 1, e
			}
			i++
		}
		id = task.ID((number+1)*chunkSize) + 1
	}
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
