package worker

import (
	"fmt"

	"muster/internal/wire"
	"muster/share"
	"muster/task"
)

// readable returns a task with the paths of what it shares with others, or says that
// this machine, or this user of it, cannot read what the task needs.
func readable(s task.Spec) (task.Spec, *task.Lack) {
	if len(s.Shares) == 0 {
		return s, nil
	}
	paths := map[string]string{}
	for _, sh := range s.Shares {
		path, err := pathOf(sh)
		if err == nil {
			paths[sh.Name] = path
		} else if sh.Needed {
			return s, &task.Lack{Kind: task.LackShare, Code: 126, Message: fmt.Sprintf("cannot read the share %s: %v", sh.Name, err)}
		}
	}
	return s.WithShares(paths), nil
}

// pathOf is where a share is on this machine.
func pathOf(sh task.Share) (string, error) {
	ref, err := share.ParseRef(sh.Ref)
	if err != nil {
		return "", err
	}
	return ref.Path(), ref.Check()
}

// copies are shares of the dispatcher's machine of which this worker has one. The
// uplink's reader calls all of it.
type copies struct {
	coming map[string]*share.Writer // by the id of what is copied
	have   map[string]*share.Segment
}

// take takes a piece of a share, and says how much has come.
func (c *copies) take(m *wire.Share) *wire.Shared {
	w := c.coming[m.ID]
	answer := &wire.Shared{ID: m.ID}
	err := c.add(w, m)
	if w = c.coming[m.ID]; w != nil {
		answer.Bytes = uint64(w.Size())
	}
	if err == nil && answer.Bytes == m.Total {
		c.have[m.ID], err = w.Seal()
		delete(c.coming, m.ID)
		answer.Done = err == nil
	}
	if err != nil {
		answer.Err, answer.Bytes = err.Error(), m.At
		c.drop(m.ID)
	}
	return answer
}

// add writes a piece. The first one is refused if this machine has no room for all.
func (c *copies) add(w *share.Writer, m *wire.Share) (err error) {
	if w == nil {
		left, err := share.Available()
		if err != nil {
			return err
		}
		if left /= 2; m.Total > uint64(left) {
			return fmt.Errorf("%w for its %d bytes: a worker takes half of what is available, which is %d", share.ErrNoMemory, m.Total, left)
		}
		if w, err = share.Create(); err != nil {
			return err
		}
		c.coming[m.ID] = w
	}
	if m.At != uint64(w.Size()) {
		return fmt.Errorf("a piece of it is missing after %d bytes", w.Size())
	}
	_, err = w.Write(m.Data)
	return err
}

// drop gives up a copy.
func (c *copies) drop(id string) {
	if w := c.coming[id]; w != nil {
		w.Discard()
		delete(c.coming, id)
	}
	if s := c.have[id]; s != nil {
		s.Close()
		delete(c.have, id)
	}
}

// end gives up all.
func (c *copies) end() {
	for id := range c.coming {
		c.drop(id)
	}
	for id := range c.have {
		c.drop(id)
	}
}

// local has a task read copies where there are some.
func (c *copies) local(list []task.Share) {
	if len(c.have) == 0 {
		return
	}
	for i, sh := range list {
		if ref, err := share.ParseRef(sh.Ref); err == nil && c.have[ref.ID] != nil {
			list[i].Ref = c.have[ref.ID].Ref().String()
		}
	}
}
