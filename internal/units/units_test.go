package units_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"muster/internal/units"
)

// neither are texts that are no duration, no size and no count.
var neither = []string{"", " ", "x", "-", "-1", "-1.5", "-5s", "-1GB", "+1", "+5s", "NaN", "nan", "Inf", "inf", "-inf", "infinity", "0x10", "0b1", "1_000", "1,5", "1e", "1e999", "e3", ".", ".e3", ".s", "1..5", "1.5.5s", "5.",
	"٣", "٣s", "1٠s", "５", "５GB", " 1", "1 ", "\t1", "1\n", "1s\n", "1\x00", "1h  2m", "4 hours", "4hours", "1y", "1w", "1mo", "50%", "99999999999999999999999999", strings.Repeat("1", 1000), strings.Repeat("0", 100) + "1", strings.Repeat("1h", 1000)}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "90": 90 * time.Second, "1.5": 1500 * time.Millisecond, ".1": 100 * time.Millisecond, ".5e1": 5 * time.Second, ".5h": 30 * time.Minute, "1h.5m": time.Hour + 30*time.Second, "007": 7 * time.Second, "1e3": 1000 * time.Second, "1.5e+1": 15 * time.Second, "5e-3": 5 * time.Millisecond,
		"0s": 0, "90s": 90 * time.Second, "90S": 90 * time.Second, "1h30m": 90 * time.Minute, "1h 30m": 90 * time.Minute, "4 h": 4 * time.Hour, "30m1h": 90 * time.Minute, "1.5h": 90 * time.Minute, "10min": 10 * time.Minute,
		"1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "250ms": 250 * time.Millisecond, "3µs": 3 * time.Microsecond, "3μs": 3 * time.Microsecond, "3us": 3 * time.Microsecond, "7ns": 7, "1m0.000000001s": time.Minute + 1,
		"1:00:00": time.Hour, "04:00:00": 4 * time.Hour, "0:90:00": 90 * time.Minute, "2-12": 60 * time.Hour, "1-00:30": 24*time.Hour + 30*time.Minute, "2-00:00:00": 48 * time.Hour, "1-02:03:04": 26*time.Hour + 3*time.Minute + 4*time.Second,
		"9223372036854775807ns": math.MaxInt64, "106751d": 106751 * 24 * time.Hour,
	} {
		if d, err := units.ParseDuration(text); err != nil || d != want {
			t.Errorf("%q is %s, %v; want %s", text, d, err, want)
		}
	}
	for _, text := range append(neither, "10:30", "1:2:3:4", "1-", "-12", "1-2-3", "1:00:00s", "12:", "1s-", "9223372036854775808ns", "106752d", "999999999-00:00:00", "1GB", "h", "s1") {
		if d, err := units.ParseDuration(text); err == nil {
			t.Errorf("%q is taken as %s", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "4096": 4096, "1e6": 1e6, "1.5": 1, "0B": 0, "16GB": 16e9, "16GiB": 16 << 30, "16G": 16 << 30, "16g": 16 << 30, "512 mb": 512e6, "1.5KiB": 1536, ".5": 0, ".5k": 512, "1.5G": 3 << 29,
		"100MB": 100e6, "1GiB": 1 << 30, "2TB": 2e12, "2T": 2 << 40, "1PiB": 1 << 50, "9223372036854775807": math.MaxInt64, "010K": 10 << 10} {
		if n, err := units.ParseSize(text); err != nil || n != want {
			t.Errorf("%q is %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range append(neither, "GB", "16X", "16GBs", "16Gi", "1GB1MB", "9223372036854775808", "99999999999TB", "9e18K", "90s") {
		if n, err := units.ParseSize(text); err == nil {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

func TestCount(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "1": 1, "8": 8, "010": 10, "1e3": 1000, "2E+2": 200, "1073741824": 1 << 30} {
		if n, err := units.ParseCount(text); err != nil || n != want {
			t.Errorf("%q is %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range append(neither, "1e-3", ".5", "1.5", "1.0", "1073741825", "1e10", "9223372036854775808", "8k", "1s") {
		if n, err := units.ParseCount(text); err == nil {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

// TestMessages: what is refused is said with what is understood, or why.
func TestMessages(t *testing.T) {
	duration := func(s string) error { _, err := units.ParseDuration(s); return err }
	size := func(s string) error { _, err := units.ParseSize(s); return err }
	count := func(s string) error { _, err := units.ParseCount(s); return err }
	for _, c := range []struct {
		read func(string) error
		text string
		want string
	}{
		{duration, "soon", `"soon" is no duration: write 90s, 1h30m or 2d, 1:30:00 or 2-12:00:00 as Slurm does, or a number of seconds`},
		{duration, "10:30", `"10:30" can be read in two ways: write 10m30s or 10h30m, or all of H:MM:SS`},
		{duration, "-5s", `"-5s" is negative`},
		{duration, "1e90", `"1e90" is too long`},
		{size, "much", `"much" is no size: write 512MB or 16GB (powers of 1000), 512MiB or 16G (of 1024), or a number of bytes`},
		{size, "-1", `"-1" is negative`},
		{size, "99999999P", `"99999999P" is too large`},
		{count, "some", `"some" is no count: write a whole number, such as 8 or 1e3`},
		{count, "-1", `"-1" is negative`},
		{count, "--1", `"--1" is no count: write a whole number, such as 8 or 1e3`},
		{count, "2e9", `"2e9" is too large: 1073741824 is the most`},
	} {
		if err := c.read(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestWithUnit(t *testing.T) {
	for text, want := range map[string]bool{"240": false, "1.5": false, "1e3": false, "0.1": false, ".1": false, ".0": true, "0": true, "00": true, "0.0": true, "": true, "4h": true, "4:00:00": true, "x": true} {
		err := units.WithUnit(text, "4h or 4:00:00")
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && !strings.HasSuffix(err.Error(), "has no unit, and schedulers disagree on what it would be: write 4h or 4:00:00") {
			t.Error(err)
		}
	}
}

func TestJSON(t *testing.T) {
	for text, want := range map[string]time.Duration{`"90s"`: 90 * time.Second, `"1:00:00"`: time.Hour, `2`: 2 * time.Second, `2.5`: 2500 * time.Millisecond, `1e2`: 100 * time.Second, `"2"`: 2 * time.Second, `null`: time.Hour} {
		d := units.Duration(time.Hour)
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %s, %v", text, time.Duration(d), err)
		}
	}
	for text, want := range map[string]units.Size{`1000`: 1000, `"1KB"`: 1000, `1e3`: 1000, `null`: 5} {
		n := units.Size(5)
		if err := json.Unmarshal([]byte(text), &n); err != nil || n != want {
			t.Errorf("%s is %d, %v", text, n, err)
		}
	}
	for _, text := range []string{`-1`, `"x"`, `true`, `{}`, `[1]`, `1e99`, `"-5s"`} {
		d, n := units.Duration(7), units.Size(7)
		if err := json.Unmarshal([]byte(text), &d); err == nil || d != 7 {
			t.Errorf("%s is taken as %s", text, time.Duration(d))
		}
		if err := json.Unmarshal([]byte(text), &n); err == nil || n != 7 {
			t.Errorf("%s is taken as %d bytes", text, n)
		}
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", 2 * time.Minute: "2m", 24 * time.Hour: "24h", time.Hour + 10*time.Minute: "1h10m", 100 * time.Minute: "1h40m", 20 * time.Second: "20s", time.Hour + time.Second: "1h0m1s"} {
		if got := units.Format(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

// FuzzParse: nothing panics or becomes negative, all that Go reads is read as Go does,
// and what is written can be read again.
func FuzzParse(f *testing.F) {
	for _, text := range append(neither, "90s", "1h30m", "2-12:00:00", "16GiB", "1.5G", "1e3", "9223372036854775807ns") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := units.ParseDuration(text)
		if err == nil {
			again, err := units.ParseDuration(units.Format(d))
			if d < 0 || err != nil || again != d {
				t.Errorf("%q is %s, and that %s, %v", text, d, again, err)
			}
		}
		if theirs, terr := time.ParseDuration(text); terr == nil && err == nil && d != theirs && text != "0" {
			t.Errorf("%q is %d ns, and to Go %d ns", text, d, theirs)
		}
		if n, err := units.ParseSize(text); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", text, n)
		}
		if n, err := units.ParseCount(text); err == nil && (n < 0 || n > units.MaxCount) {
			t.Errorf("%q is %d", text, n)
		}
	})
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m00s", 3*time.Hour + 62*time.Second: "3h01m", 50 * time.Hour: "2d02h"} {
		if got := units.Age(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestMegabytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 MB", 30: "0.00003 MB", 234: "0.000234 MB", 3_456_789: "3.46 MB", 512_000_000: "512 MB", 1_234_567_890: "1230 MB", 16_000_000_000: "16000 MB"} {
		if got := units.Megabytes(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}
