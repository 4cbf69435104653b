package cli

import (
	"strings"
	"testing"
)

func TestJobs(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "1": 1, "12": 12, "50%": 4, "100%": 8, "1%": 1, "12.5%": 1, "300%": 24, "+1": 9, "+0": 8, "-1": 7, "-8": 1, "-100": 1, "0%": 1, "10000": 10000, "1e3": 1000,
	} {
		if n, zero, err := (jobs{n: text}).slots(8); n != want || zero || err != nil {
			t.Errorf("-n %q is %d, %v, %v", text, n, zero, err)
		}
	}
	if n, zero, err := (jobs{n: "0"}).slots(8); n != 250 || !zero || err != nil {
		t.Errorf("-n 0 is %d, %v, %v", n, zero, err)
	}
	for text, want := range map[string]string{
		"x": "or as in 50%", "%": "or as in 50%", "+": "or as in 50%", "-": "or as in 50%", "++1": "or as in 50%", "+-1": "or as in 50%", "1.5": "or as in 50%", "+50%": "or as in 50%", "5 %": "or as in 50%", "NaN": "or as in 50%", "0x10": "or as in 50%",
		"10001": "at most 10000", "1000000": "at most 10000", "999999%": "at most 10000", "+99999999999999999999": "at most 10000",
	} {
		if n, _, err := (jobs{n: text}).slots(8); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "-n "+text+": ") {
			t.Errorf("-n %q is %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"0", "-1", "+1", "50%", "x", "2e6+1", "2000001"} {
		if n, err := (jobs{n: text}).workers(); err == nil || !strings.Contains(err.Error(), "it is how many, 1 to ") {
			t.Errorf("-n %q is %d workers, %v", text, n, err)
		}
	}
}
