package future

import "context"

// turn is a mutex that is waited for no longer than a context allows.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. One that is free is taken even if ctx is done.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// give lets the next one have it.
func (t turn) give() { <-t }
