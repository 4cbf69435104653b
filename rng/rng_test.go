package rng_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand"
	randv2 "math/rand/v2"
	"strings"
	"testing"

	"muster/rng"
)

var (
	_ rand.Source64 = (*rng.Source)(nil)
	_ randv2.Source = (*rng.Source)(nil)
)

// golden is what R 4.2.2 says: the state after set.seed, that of the next stream and of
// that one's next substream, and the first numbers of the next stream.
var golden = []struct {
	seed             int32
	first, next, sub string
	uniform          [2]float64
	normal           [3]float64
}{
	{1234, "-305777535 -1394370482 -1723143049 2071488076 1659356893 -1081051142", "1325398954 -1161873690 -494229462 -159563550 560770250 333672325", "1891818117 -1558307131 -1641555158 -1844081693 1126810812 -1636896775", [2]float64{0.41261210125482578, 0.13997957578761314}, [3]float64{-0.22083078405416712, 1.1507972277109335, 0.1037508535259356}},
	{-5, "1466166878 -58808505 1194430172 365728301 1785353994 -191023869", "-791141996 -1180780683 -1663923301 -1601039772 1101753817 -431126267", "-989680500 1069214512 -277537362 296873840 -849316632 1230411317", [2]float64{0.33058498607987474, 0.30271695646576746}, [3]float64{-0.43829842762836979, 0.51526737635646058, -0.79698356577918883}},
	{2147483647, "-804897614 583378059 -2044014000 1867020817 1162714270 213414023", "1986407099 -258657415 -606689535 -410049274 -2023945838 -143260021", "921920228 -1993264293 -2063287269 -270079312 -223659897 1211605144", [2]float64{0.53682285655735862, 0.45781447883355708}, [3]float64{0.09243267174522439, 0.99829148622680641, 1.8773255989538191}},
	{-2147483647, "-866688036 1978213165 1705473034 1543925251 1925136232 -658108855", "-613554703 -425222688 1422820437 1431387826 -1704935348 1335248838", "-1863379666 1196718958 -1459667960 706636927 1981567345 -412603492", [2]float64{0.20314242650140654, 0.089851954413858834}, [3]float64{-0.83044923189690178, 1.5894998584474138, -0.9597228196263613}},
}

func TestGolden(t *testing.T) {
	for _, c := range golden {
		first := rng.Seed(c.seed)
		next := first.Next()
		if first.String() != c.first || next.String() != c.next || next.Sub().String() != c.sub {
			t.Errorf("seed %d: %v, %v, %v", c.seed, first, next, next.Sub())
		}
		src := rng.NewSource(next)
		if got := [2]float64{src.Unif(), src.Unif()}; got != c.uniform {
			t.Errorf("seed %d: uniform %v", c.seed, got)
		}
		src = rng.NewSource(next)
		if got := [3]float64{src.Norm(), src.Norm(), src.Norm()}; got != c.normal {
			t.Errorf("seed %d: normal %v", c.seed, got)
		}
	}
}

// TestStreams: a stream of a number is that many calls of Next away.
func TestStreams(t *testing.T) {
	s, list := rng.Seed(7), rng.Seeded(7)
	for n := uint64(1); n <= 300; n++ {
		if got := list.Of(n); got != s {
			t.Fatalf("stream %d is %v, want %v", n, got, s)
		}
		s = s.Next()
	}
	if a, b := list.Of(math.MaxUint64), list.Of(math.MaxUint64-1).Next(); a != b || !a.Valid() {
		t.Errorf("the last stream is %v, want %v", a, b)
	}
	if got := (rng.Streams{}).Of(1); !got.IsZero() {
		t.Errorf("without a seed there is %v", got)
	}
}

// TestSequence: with a seed its streams come in order; without one no two are the same.
func TestSequence(t *testing.T) {
	q := rng.Seeded(9).Sequence()
	for n := uint64(1); n < 5; n++ {
		if got, want := q.Next(), rng.Seeded(9).Of(n); got != want {
			t.Errorf("stream %d is %v, want %v", n, got, want)
		}
	}
	a, b := rng.Streams{}.Sequence(), rng.Streams{}.Sequence()
	first, second, other := a.Next(), a.Next(), b.Next()
	if first.Sub() != second || first == other || !other.Valid() {
		t.Errorf("%v, %v and %v", first, second, other)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]int32{"0": 0, "-5": -5, "42": 42, "2147483647": math.MaxInt32, "-2147483647": -math.MaxInt32} {
		if got, err := rng.ParseStreams(text); err != nil || got != rng.Seeded(want) || got.String() != text {
			t.Errorf("%s is %v, %v", text, got, err)
		}
		var got struct{ Seed rng.Streams }
		if err := json.Unmarshal([]byte(`{"Seed": `+text+`}`), &got); err != nil || got.Seed != rng.Seeded(want) {
			t.Errorf("%s is %v, %v in JSON", text, got, err)
		}
		if b, err := json.Marshal(got); err != nil || string(b) != `{"Seed":`+text+`}` {
			t.Errorf("%s is written %s, %v", text, b, err)
		}
	}
	for _, text := range []string{"", " ", "NA", "1.5", "1e3", "0x10", "2147483648", "-2147483648", "99999999999999999999", "1 2"} {
		if got, err := rng.ParseStreams(text); err == nil || !strings.Contains(err.Error(), "from -2147483647 to 2147483647") {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	s := rng.Seed(1234)
	b, err := json.Marshal(s)
	if err != nil || string(b) != "["+strings.ReplaceAll(s.String(), " ", ",")+"]" {
		t.Errorf("%s, %v", b, err)
	}
	var back rng.Stream
	if err := json.Unmarshal(b, &back); err != nil || back != s {
		t.Errorf("%v, %v", back, err)
	}
	if err := json.Unmarshal([]byte("null"), &back); err != nil || !back.IsZero() {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{"[1,2,3]", "[1,2,3,4,5,6,7]", `"x"`, "[0,0,0,1,1,1]", "[1,1,1,0,0,0]", "[1,1,1,1,1,-1]", "[-1,1,1,1,1,1]", "[1,1,1,1,1,4294967296]"} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s is %v", bad, back)
		}
	}
}

// TestBinary: no bytes but those of a stream make one.
func TestBinary(t *testing.T) {
	s := rng.Seed(1234)
	b, err := s.AppendBinary([]byte("x"))
	var back rng.Stream
	if err != nil || len(b) != 25 || back.UnmarshalBinary(b[1:]) != nil || back != s {
		t.Errorf("% x, %v: %v", b, err, back)
	}
	for _, bad := range [][]byte{nil, b, b[2:], make([]byte, 24)} {
		if err := back.UnmarshalBinary(bad); err == nil || back != s {
			t.Errorf("% x is %v", bad, back)
		}
	}
}

// TestRandom: no two are the same, nor what follows from them.
func TestRandom(t *testing.T) {
	a, b := rng.Random(), rng.Random()
	if !a.Valid() || !b.Valid() || a == b || a.Sub() == a || a.SmallSeed() == a.Sub().SmallSeed() && a.Sub().SmallSeed() == b.SmallSeed() {
		t.Errorf("%v, %v", a, b)
	}
}

func TestSmallSeed(t *testing.T) {
	seen := map[int32]bool{}
	for s, i := rng.Seed(1), 0; i < 1000; s, i = s.Next(), i+1 {
		first := rng.NewSource(s).Unif() * 4294967088
		if got := s.SmallSeed(); got < 1 || got != int32(int64(math.Round(first))%math.MaxInt32)+1 {
			t.Fatalf("stream %d: %d, and the stream begins with %f", i, got, first)
		}
		seen[s.SmallSeed()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("of 1000 streams there are %d seeds", len(seen))
	}
}

// TestBits: each bit of what math/rand gets is set in about half of the numbers.
func TestBits(t *testing.T) {
	src := rng.NewSource(rng.Seed(3))
	var set [64]int
	const n = 20000
	for range n {
		x := src.Uint64()
		for i := range set {
			set[i] += int(x >> i & 1)
		}
	}
	for i, k := range set {
		if d := math.Abs(float64(k) - n/2); d > 5*math.Sqrt(n)/2 {
			t.Errorf("bit %d is set in %d of %d", i, k, n)
		}
	}
	src.Seed(3)
	if src.Stream() != rng.Seed(3) || src.Int63() < 0 {
		t.Error("Seed does not begin anew")
	}
}

func TestContext(t *testing.T) {
	ctx := rng.NewContext(context.Background(), rng.Seed(5))
	first := rng.FromContext(ctx).Unif()
	want := rng.NewSource(rng.Seed(5))
	if first != want.Unif() || rng.FromContext(ctx).Unif() != want.Unif() {
		t.Error("the context's source is not that of its stream")
	}
	if a, b := rng.FromContext(context.Background()), rng.FromContext(context.Background()); a.Stream() == b.Stream() {
		t.Error("two contexts that have no stream share one")
	}
}

func BenchmarkNext(b *testing.B) {
	s := rng.Seed(1)
	for b.Loop() {
		s = s.Next()
	}
}

// BenchmarkOf is what the millionth task of a seed takes.
func BenchmarkOf(b *testing.B) {
	s := rng.Seeded(1)
	for b.Loop() {
		s.Of(1_000_000)
	}
}

func BenchmarkNorm(b *testing.B) {
	src := rng.NewSource(rng.Seed(1))
	for b.Loop() {
		src.Norm()
	}
}

// FuzzStream: what is read as a stream is one, and is written as it was read.
func FuzzStream(f *testing.F) {
	for _, text := range []string{"null", "[1,2,3,4,5,6]", "[-1,0,0,0,0,-22853]", "[0,0,0,1,1,1]", "[1,2,3,4,5,6,7]", `"1"`, "[1.5,2,3,4,5,6]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again rng.Stream
		if json.Unmarshal(b, &s) != nil {
			return
		}
		if !s.Valid() && !s.IsZero() {
			t.Fatalf("%s is read as %v", b, s)
		}
		written, err := json.Marshal(s)
		if err != nil || json.Unmarshal(written, &again) != nil || again != s {
			t.Errorf("%s is written as %s, %v", b, written, err)
		}
	})
}
