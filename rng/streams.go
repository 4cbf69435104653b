package rng

import (
	"fmt"
	"math"
	"strconv"
)

// Streams are the streams of a seed, numbered from 1: the first is the seed's own, and
// each is the Next of the one before it. The zero value has no seed, and no streams.
type Streams struct {
	seed   int32
	seeded bool
}

// Seeded returns the streams of a seed.
func Seeded(seed int32) Streams { return Streams{seed, true} }

// ParseStreams returns the streams of a seed that a person has written: a whole number
// that R's set.seed takes.
func ParseStreams(text string) (Streams, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n == math.MinInt32 {
		return Streams{}, fmt.Errorf("%q is no seed: a seed is a whole number from %d to %d", text, -math.MaxInt32, math.MaxInt32)
	}
	return Seeded(int32(n)), nil
}

// IsZero reports whether there is no seed.
func (s Streams) IsZero() bool { return !s.seeded }

// Of returns stream number n, from 1; the zero one if there is no seed.
func (s Streams) Of(n uint64) Stream {
	if !s.seeded {
		return Stream{}
	}
	return Seed(s.seed).Jump(n - 1)
}

// String returns the seed, or nothing.
func (s Streams) String() string {
	if !s.seeded {
		return ""
	}
	return strconv.Itoa(int(s.seed))
}

// MarshalJSON writes the seed, or null.
func (s Streams) MarshalJSON() ([]byte, error) {
	if !s.seeded {
		return []byte("null"), nil
	}
	return []byte(s.String()), nil
}

// UnmarshalJSON reads a seed, or null.
func (s *Streams) UnmarshalJSON(b []byte) (err error) {
	*s = Streams{}
	if string(b) != "null" {
		*s, err = ParseStreams(string(b))
	}
	return err
}

// Sequence hands out streams, each once: those of a seed in their order or, without
// one, the substreams of a random stream. It is for use by one goroutine.
type Sequence struct {
	streams Streams
	n       uint64 // streams of the seed that were handed out
	last    Stream // without a seed: the substream that was
}

// Sequence returns the sequence that begins with the first stream.
func (s Streams) Sequence() *Sequence {
	q := &Sequence{streams: s}
	if !s.seeded {
		q.last = Random()
	}
	return q
}

// Next returns the next stream.
func (q *Sequence) Next() Stream {
	if q.streams.seeded {
		q.n++
		return q.streams.Of(q.n)
	}
	q.last = q.last.Sub()
	return q.last
}
