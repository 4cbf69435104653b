// Package rng has random numbers in streams, bit for bit as R makes them with
// RNGkind("L'Ecuyer-CMRG"): the generator MRG32k3a of L'Ecuyer (1999), whose period of
// 2^191 is cut into streams of 2^127 numbers, and these into substreams of 2^76.
//
// A [Stream] is a place in that period, and a value. Two tasks that draw from two
// streams, or from two substreams of one, never see the same numbers. A [Source] draws
// from a stream. [Streams] are the streams of one seed, numbered from 1: which numbers
// a task gets follows from the seed and the task's number alone.
package rng

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The moduli of the generator's two parts.
const (
	m1 = 4294967087
	m2 = 4294944443
)

// Stream is the state of a generator: what R has in .Random.seed[2:7]. The zero value
// is no stream.
type Stream [6]uint32

// Seed returns the stream that R is at after set.seed(seed, "L'Ecuyer-CMRG"). R takes
// no -2147483648, which is its NA.
func Seed(seed int32) (s Stream) {
	x := uint32(seed)
	for range 50 {
		x = scramble(x)
	}
	for i := range s {
		for x = scramble(x); x >= m2; {
			x = scramble(x)
		}
		s[i] = x
	}
	return s
}

// scramble is the generator by which R spreads a seed.
func scramble(x uint32) uint32 { return 69069*x + 1 }

// Random returns a stream that begins at a place which the operating system's
// randomness chooses.
func Random() (s Stream) {
	for !s.Valid() {
		var b [24]byte
		rand.Read(b[:])
		s = fromBytes(b[:])
	}
	return s
}

// Valid reports whether a generator can be in this state.
func (s Stream) Valid() bool {
	below := s[0] < m1 && s[1] < m1 && s[2] < m1 && s[3] < m2 && s[4] < m2 && s[5] < m2
	return below && s[0]|s[1]|s[2] != 0 && s[3]|s[4]|s[5] != 0
}

// IsZero reports whether this is no stream.
func (s Stream) IsZero() bool { return s == Stream{} }

// Next returns the next stream, as R's nextRNGStream does.
func (s Stream) Next() Stream { return powers()[nextStream].on(s) }

// Sub returns the next substream, as R's nextRNGSubStream does.
func (s Stream) Sub() Stream { return powers()[nextSubStream].on(s) }

// Jump returns the stream that n calls of Next lead to.
func (s Stream) Jump(n uint64) Stream {
	p := powers()
	for i := nextStream; n > 0; i, n = i+1, n>>1 {
		if n&1 == 1 {
			s = p[i].on(s)
		}
	}
	return s
}

// SmallSeed returns a seed for generators of other kinds, from 1 to 2147483647: the
// first whole number that the stream makes, modulo 2147483647, and 1. Of many streams
// some share it.
func (s Stream) SmallSeed() int32 {
	return int32((&Source{s}).next()%(1<<31-1)) + 1
}

// Words returns the state as R shows it, in signed words.
func (s Stream) Words() (w [6]int32) {
	for i, x := range s {
		w[i] = int32(x)
	}
	return w
}

// String returns the six words that R shows, with blanks between them.
func (s Stream) String() string {
	words := make([]string, len(s))
	for i, w := range s.Words() {
		words[i] = strconv.Itoa(int(w))
	}
	return strings.Join(words, " ")
}

// MarshalJSON writes the six words that R shows, or null for no stream.
func (s Stream) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(s.Words())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stream) UnmarshalJSON(b []byte) error {
	*s = Stream{}
	if string(b) == "null" {
		return nil
	}
	var words []int32
	if err := json.Unmarshal(b, &words); err != nil || len(words) != len(s) {
		return fmt.Errorf("a stream is the six whole numbers of R's .Random.seed[2:7], and not %s", b)
	}
	for i, w := range words {
		s[i] = uint32(w)
	}
	if !s.Valid() {
		return fmt.Errorf("%s is no state of L'Ecuyer-CMRG", b)
	}
	return nil
}

// AppendBinary appends the stream's 24 bytes.
func (s Stream) AppendBinary(b []byte) ([]byte, error) {
	for _, x := range s {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary writes.
func (s *Stream) UnmarshalBinary(b []byte) error {
	if len(b) != 24 || !fromBytes(b).Valid() {
		return errors.New("this is no state of L'Ecuyer-CMRG")
	}
	*s = fromBytes(b)
	return nil
}

func fromBytes(b []byte) (s Stream) {
	for i := range s {
		s[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return s
}

// matrix is one of a part of the generator.
type matrix [3][3]uint64

// times returns the product of two matrices modulo m.
func (a matrix) times(b matrix, m uint64) (c matrix) {
	for i := range c {
		for j := range c[i] {
			c[i][j] = (a[i][0]*b[0][j]%m + a[i][1]*b[1][j]%m + a[i][2]*b[2][j]%m) % m
		}
	}
	return c
}

// leap is so many steps of the generator, as what they do to its two parts.
type leap struct{ a, b matrix }

// on returns the state after the leap.
func (l *leap) on(s Stream) (t Stream) {
	for i := range 3 {
		a, b := &l.a[i], &l.b[i]
		t[i] = uint32((a[0]*uint64(s[0])%m1 + a[1]*uint64(s[1])%m1 + a[2]*uint64(s[2])%m1) % m1)
		t[3+i] = uint32((b[0]*uint64(s[3])%m2 + b[1]*uint64(s[4])%m2 + b[2]*uint64(s[5])%m2) % m2)
	}
	return t
}

// How many steps lead to the next substream and to the next stream, as powers of 2.
const (
	nextSubStream = 76
	nextStream    = 127
)

// powers returns the leaps of 2^i steps. They are made when the first is needed.
var powers = sync.OnceValue(func() *[nextStream + 64]leap {
	var p [nextStream + 64]leap
	p[0] = leap{
		a: matrix{{0, 1, 0}, {0, 0, 1}, {m1 - a13n, a12, 0}},
		b: matrix{{0, 1, 0}, {0, 0, 1}, {m2 - a23n, 0, a21}},
	}
	for i := 1; i < len(p); i++ {
		p[i] = leap{p[i-1].a.times(p[i-1].a, m1), p[i-1].b.times(p[i-1].b, m2)}
	}
	return &p
})
