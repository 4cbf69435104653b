package rng

import "math"

// log returns the natural logarithm of a number between 0 and 1, correctly rounded: an
// error takes a number so near to the middle of two others that one in thousands is.
// R has the logarithm of its C library, which is correctly rounded nearly as often. That
// of package math is not for one number in 40, and differs between processors.
//
// With x = m*2^k the logarithm is k*log(2) + 2*(s + s^3/3 + s^5/5 + ...), where
// s = (m-1)/(m+1). What is large in this sum is computed with twice the usual precision.
func log(x float64) float64 {
	m, k := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, k = 2*m, k-1
	}
	f := m - 1
	s := quotient(f, pair{m + 1, m - (m + 1 - 1)})
	z := s.times(s)
	tail := 0.0
	for i := 27.0; i > 3; i -= 2 {
		tail = float64(z.high*tail) + 1/i
	}
	series := z.times(third.plus(pair{high: float64(z.high * tail)}))
	l := s.plus(s.times(series))
	return sum(float64(float64(k)*ln2.high), float64(2*l.high)).plus(pair{low: float64(float64(k)*ln2.low) + float64(2*l.low)}).high
}

// pair is a number as the sum of two, of which the second has the bits that the first
// has no room for.
type pair struct{ high, low float64 }

// A third, and log(2), of which the first part times a power of 2 is exact.
var (
	third = pair{1.0 / 3, 1.850371707708594e-17}
	ln2   = pair{6.93147180369123816490e-01, 1.90821492927058770002e-10}
)

// sum returns a + b.
func sum(a, b float64) pair {
	high := a + b
	bb := high - a
	return pair{high, (a - (high - bb)) + (b - bb)}
}

// quotient returns a / b.
func quotient(a float64, b pair) pair {
	high := a / b.high
	return pair{high, (math.FMA(-high, b.high, a) - float64(high*b.low)) / b.high}
}

func (a pair) plus(b pair) pair {
	s := sum(a.high, b.high)
	return sum(s.high, s.low+a.low+b.low)
}

func (a pair) times(b pair) pair {
	high := float64(a.high * b.high)
	return sum(high, math.FMA(a.high, b.high, -high)+float64(a.high*b.low)+float64(a.low*b.high))
}
