package cli

import "testing"

func TestMegabytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 MB", 30: "0.00003 MB", 234: "0.000234 MB", 3_456_789: "3.46 MB", 512_000_000: "512 MB", 1_234_567_890: "1230 MB", 16_000_000_000: "16000 MB"} {
		if got := megabytes(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}
