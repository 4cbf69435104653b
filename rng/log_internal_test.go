package rng

import (
	"math"
	"math/big"
	"testing"
)

// TestLog: the logarithm is that which numbers of 200 bits make, rounded. That of
// package math is not, in 7 of these.
func TestLog(t *testing.T) {
	src := NewSource(Seed(1))
	for range 400 {
		if x := src.Unif() * 0.075; log(x) != slowLog(x) {
			t.Errorf("log(%x) is %x, want %x", x, log(x), slowLog(x))
		}
	}
	for _, x := range []float64{1.0 / (1 << 54), 0.5, 0.075, 0.9999} {
		if log(x) != slowLog(x) {
			t.Errorf("log(%x) is %x, want %x", x, log(x), slowLog(x))
		}
	}
}

func wide(x float64) *big.Float { return big.NewFloat(x).SetPrec(200) }

// slowLog is the series of log, with 200 bits.
func slowLog(x float64) float64 {
	m, k := math.Frexp(x)
	l := new(big.Float).Mul(wide(float64(k)), series(wide(2)))
	f, _ := l.Add(l, series(wide(m))).Float64()
	return f
}

func series(x *big.Float) *big.Float {
	s := new(big.Float).Quo(new(big.Float).Sub(x, wide(1)), new(big.Float).Add(x, wide(1)))
	square, power, l := new(big.Float).Mul(s, s), new(big.Float).Set(s), wide(0)
	for i := 1.0; i < 140; i += 2 {
		l.Add(l, new(big.Float).Quo(power, wide(i)))
		power.Mul(power, square)
	}
	return l.Mul(l, wide(2))
}
