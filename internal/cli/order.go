package cli

import "muster/dispatcher"

// inOrder hands results out to be printed in the order of the inputs. They come as
// tasks end; the run's log keeps them until their turn.
type inOrder struct {
	cursor *dispatcher.Cursor // by index
	next   *dispatcher.Done   // what cursor has read and nobody has had; nil if nothing
	came   map[*dispatcher.Done]struct{}
}

func newInOrder(r *dispatcher.Run) *inOrder {
	return &inOrder{cursor: r.Results(dispatcher.ByIndex), came: map[*dispatcher.Done]struct{}{}}
}

// add takes a result that has come.
func (o *inOrder) add(r *dispatcher.Done) { o.came[r] = struct{}{} }

// take returns the result whose turn it is, nil if that has not come. The cursor may
// be ahead of what has: whoever printed and released that would take it from those
// who read results as they come.
func (o *inOrder) take() *dispatcher.Done {
	if o.next == nil {
		o.next, _ = o.cursor.Poll() // after the last there is nothing
	}
	r := o.next
	if _, came := o.came[r]; r == nil || !came {
		return nil
	}
	delete(o.came, r)
	o.next = nil
	return r
}

// rest returns what waits for the turn of tasks that will not end any more.
func (o *inOrder) rest() []*dispatcher.Done {
	rest := o.cursor.Rest()
	if o.next != nil {
		rest = append([]*dispatcher.Done{o.next}, rest...)
	}
	return rest
}
