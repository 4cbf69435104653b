package rng

import (
	"context"
	"math"
)

// The factors of the generator, and what makes a number below 1 of what it gives.
const (
	a12   = 1403580
	a13n  = 810728
	a21   = 527612
	a23n  = 1370589
	normc = 2.328306549295727688e-10
)

// Source draws numbers from a stream, as R does. It is a Source of math/rand and of
// math/rand/v2 too. It is for use by one goroutine.
type Source struct{ s Stream }

// NewSource returns a source that begins with the first number of a stream.
func NewSource(s Stream) *Source { return &Source{s} }

// Stream returns the stream from here on.
func (r *Source) Stream() Stream { return r.s }

// next returns a number from 1 to m1.
func (r *Source) next() uint32 {
	s := &r.s
	p1 := (a12*uint64(s[1]) + a13n*uint64(m1-s[0])) % m1
	p2 := (a21*uint64(s[5]) + a23n*uint64(m2-s[3])) % m2
	s[0], s[1], s[2] = s[1], s[2], uint32(p1)
	s[3], s[4], s[5] = s[4], s[5], uint32(p2)
	if p1 <= p2 {
		p1 += m1
	}
	return uint32(p1 - p2)
}

// Unif returns a number between 0 and 1, neither of which it ever is: R's runif(1).
func (r *Source) Unif() float64 { return float64(float64(r.next()) * normc) }

// Norm returns a number of the standard normal distribution, by inversion: R's
// rnorm(1), but for the last bit of one number in 70,000; see log. R's
// rnorm(1, mean, sd) is mean + sd*Norm().
func (r *Source) Norm() float64 {
	const big = 1 << 27 // one uniform number has too few bits
	u := float64(int(big * r.Unif()))
	return qnorm((u + r.Unif()) / big)
}

// Uint64 returns 64 random bits, for math/rand and math/rand/v2. They are four numbers
// of the stream, 16 bits of each.
func (r *Source) Uint64() (bits uint64) {
	const whole = 1<<32 - 1<<16 // a multiple of 2^16, as many as the generator has
	for range 4 {
		x := r.next() - 1
		for x >= whole {
			x = r.next() - 1
		}
		bits = bits<<16 | uint64(x&0xffff)
	}
	return bits
}

// Int63 returns 63 random bits, for math/rand.
func (r *Source) Int63() int64 { return int64(r.Uint64() >> 1) }

// Seed begins with the stream of a seed, for math/rand. Of the seed 32 bits count.
func (r *Source) Seed(seed int64) { r.s = Seed(int32(seed)) }

// contextKey is the context's key of a source.
type contextKey struct{}

// NewContext returns a context with a source that begins with the stream.
func NewContext(ctx context.Context, s Stream) context.Context {
	return context.WithValue(ctx, contextKey{}, NewSource(s))
}

// FromContext returns the source of a task: that of its own stream, in the context of
// its function. In any other context it is a new one, of a random stream.
func FromContext(ctx context.Context) *Source {
	if r, ok := ctx.Value(contextKey{}).(*Source); ok {
		return r
	}
	return NewSource(Random())
}

// qnorm returns the quantile of the standard normal distribution at p, by algorithm
// AS 241 of Wichura (1988), PPND16, as R has it.
//
// In this package each product is rounded by itself, by a conversion to float64: where a
// processor has one instruction for x*y + z, the compiler may use it otherwise, and the
// last bit is another one.
func qnorm(p float64) float64 {
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := .180625 - float64(q*q)
		return q * poly(r, &centreA) / poly(r, &centreB)
	}
	tail := p
	if q > 0 {
		tail = 0.5 - p + 0.5
	}
	r := math.Sqrt(-log(tail))
	var x float64
	if r <= 5 {
		x = poly(r-1.6, &middleA) / poly(r-1.6, &middleB)
	} else {
		x = poly(r-5, &farA) / poly(r-5, &farB)
	}
	if q < 0 {
		return -x
	}
	return x
}

// poly evaluates a polynomial, whose highest coefficient comes first.
func poly(x float64, c *[8]float64) float64 {
	y := c[0]
	for _, a := range c[1:] {
		y = float64(y*x) + a
	}
	return y
}

// The coefficients of AS 241: for the centre, the tails, and their far ends; numerator
// and denominator.
var (
	centreA = [8]float64{2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608}
	centreB = [8]float64{5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1}
	middleA = [8]float64{7.7454501427834140764e-4, .0227238449892691845833, .24178072517745061177, 1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734}
	middleB = [8]float64{1.05075007164441684324e-9, 5.475938084995344946e-4, .0151986665636164571966, .14810397642748007459, .68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1}
	farA    = [8]float64{2.01033439929228813265e-7, 2.71155556874348757815e-5, .0012426609473880784386, .026532189526576123093, .29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772}
	farB    = [8]float64{2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4, .0148753612908506148525, .13692988092273580531, .59983220655588793769, 1}
)
