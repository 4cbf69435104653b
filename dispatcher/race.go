package dispatcher

import (
	"context"
	"errors"
	"slices"
)

// Race waits until one of the futures is resolved and returns its index, -1
// for an empty list. The first of several that already are wins.
func Race(ctx context.Context, futures []*Future) (int, error) {
	if len(futures) == 0 {
		return -1, nil
	}
	bell := make(chan struct{}, 1)
	for i, f := range futures {
		f.pool.mu.Lock()
		resolved := f.isResolved()
		if !resolved {
			f.racers = append(f.racers, bell)
		}
		f.pool.mu.Unlock()
		if resolved {
			leaveRace(futures[:i], bell)
			return i, nil
		}
	}
	defer leaveRace(futures, bell)
	select {
	case <-bell:
	case <-ctx.Done():
		return -1, ctx.Err()
	}
	for i, f := range futures {
		if s := f.Status(); s.State == "resolved" {
			return i, nil
		}
	}
	return -1, errors.New("no future is resolved")
}

func leaveRace(futures []*Future, bell chan struct{}) {
	for _, f := range futures {
		f.pool.mu.Lock()
		if i := slices.Index(f.racers, bell); i >= 0 {
			f.racers = slices.Delete(f.racers, i, i+1)
		}
		f.pool.mu.Unlock()
	}
}
