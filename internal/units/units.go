// Package units reads durations, sizes and counts as people write them: on the
// command line, in a config and in a request to the API. It writes them for people, too.
package units

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxText bounds what is read as a number, in bytes.
const maxText = 64

var (
	bareText  = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?$`)
	partText  = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([a-zµμ]+) ?`)
	clockText = regexp.MustCompile(`^(?:([0-9]+)-)?([0-9]+)(?::([0-9]+))?(?::([0-9]+))?$`)
	sizeText  = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([a-z]+)$`)
	countText = regexp.MustCompile(`^[0-9]+(?:[eE]\+?[0-9]{1,2})?$`)
)

const day = 24 * time.Hour

var timeUnits = map[string]time.Duration{"d": day, "h": time.Hour, "m": time.Minute, "min": time.Minute, "s": time.Second,
	"ms": time.Millisecond, "us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, "ns": time.Nanosecond}

// Of sizes a letter alone is a power of 1024, as it is to Slurm and GNU's programs.
var sizeUnits = map[string]int64{"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50}

// MaxCount is the largest count that ParseCount reads.
const MaxCount = 1 << 30

// WithUnit refuses a number that has no unit, unless it is 0: to some schedulers a number
// is seconds or bytes, and to others minutes or megabytes. such is what to write.
func WithUnit(s, such string) error {
	if bareText.MatchString(s) && strings.Trim(s, "0.") != "" {
		return fmt.Errorf("%q has no unit, and schedulers disagree on what it would be: write %s", s, such)
	}
	return nil
}

// ParseDuration reads a duration: with units, 90s, 1h30m or 2d; as Slurm writes it where
// that cannot be misread, H:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS; or as a number of
// seconds.
func ParseDuration(s string) (time.Duration, error) {
	total, err := durationOf(s)
	if err != nil {
		return 0, err
	}
	n, ok := whole(total)
	if !ok {
		return 0, fmt.Errorf("%q is too long", s)
	}
	return time.Duration(n), nil
}

// durationOf reads a duration in nanoseconds.
func durationOf(s string) (*big.Rat, error) {
	if len(s) <= maxText {
		switch m := clockText.FindStringSubmatch(s); {
		case bareText.MatchString(s):
			return times(s, time.Second), nil
		case m == nil:
		case m[1] == "" && m[4] == "":
			return nil, fmt.Errorf("%q can be read in two ways: write 10m30s or 10h30m, or all of H:MM:SS", s)
		default:
			return clock(m[1:]), nil
		}
		if total := parts(strings.ToLower(s)); total != nil {
			return total, nil
		}
	}
	return nil, refused(s, "duration", "write 90s, 1h30m or 2d, 1:30:00 or 2-12:00:00 as Slurm does, or a number of seconds")
}

// parts adds up numbers with units. It is nil if a text is something else.
func parts(s string) *big.Rat {
	total := new(big.Rat)
	for first := true; s != "" || first; first = false {
		m := partText.FindStringSubmatch(s)
		if m == nil {
			return nil
		}
		unit, ok := timeUnits[m[2]]
		if s = s[len(m[0]):]; !ok || s == "" && strings.HasSuffix(m[0], " ") {
			return nil
		}
		total.Add(total, times(m[1], unit))
	}
	return total
}

// clock adds up days, hours, minutes and seconds, of which some may be empty.
func clock(fields []string) *big.Rat {
	total := new(big.Rat)
	for i, unit := range []time.Duration{day, time.Hour, time.Minute, time.Second} {
		total.Add(total, times("0"+fields[i], unit))
	}
	return total
}

// times multiplies a number, which is one, with a unit.
func times[N ~int64](number string, unit N) *big.Rat {
	n, _ := new(big.Rat).SetString(number)
	return n.Mul(n, new(big.Rat).SetInt64(int64(unit)))
}

// whole is a number without its fraction, and whether it can be held.
func whole(r *big.Rat) (int64, bool) {
	n := new(big.Int).Quo(r.Num(), r.Denom())
	return n.Int64(), n.IsInt64()
}

// refused is the error of a text that cannot be read as what.
func refused(s, what, hint string) error {
	if rest, minus := strings.CutPrefix(s, "-"); minus && rest != "" && strings.ContainsRune("0123456789.", rune(rest[0])) {
		return fmt.Errorf("%q is negative", s)
	}
	return fmt.Errorf("%q is no %s: %s", s, what, hint)
}

// ParseSize reads bytes: 16GB is 16,000,000,000, 16G and 16GiB are 17,179,869,184, and a
// number is bytes.
func ParseSize(s string) (int64, error) {
	var total *big.Rat
	if len(s) <= maxText {
		if m := sizeText.FindStringSubmatch(strings.ToLower(s)); m != nil && sizeUnits[m[2]] > 0 {
			total = times(m[1], sizeUnits[m[2]])
		} else if bareText.MatchString(s) {
			total = times[int64](s, 1)
		}
	}
	if total == nil {
		return 0, refused(s, "size", "write 512MB or 16GB (powers of 1000), 512MiB or 16G (of 1024), or a number of bytes")
	}
	n, ok := whole(total)
	if !ok {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n, nil
}

// ParseCount reads a whole number, 8 or 1e3.
func ParseCount(s string) (int, error) {
	if len(s) > maxText || !countText.MatchString(s) {
		return 0, refused(s, "count", "write a whole number, such as 8 or 1e3")
	}
	n, ok := whole(times[int64](s, 1))
	if !ok || n > MaxCount {
		return 0, fmt.Errorf("%q is too large: %d is the most", s, MaxCount)
	}
	return int(n), nil
}

// Duration is a time.Duration that JSON has as a string, such as "90s", or as a number of
// seconds.
type Duration time.Duration

// String writes it as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string or a number.
func (d *Duration) UnmarshalJSON(b []byte) error {
	return unmarshal(b, (*time.Duration)(d), ParseDuration)
}

// Size is a number of bytes, which JSON has as a number, or as a string such as "100MB".
type Size int64

// UnmarshalJSON reads a string or a number.
func (n *Size) UnmarshalJSON(b []byte) error { return unmarshal(b, (*int64)(n), ParseSize) }

// unmarshal reads a JSON string or number by its text. null leaves the value.
func unmarshal[T any](b []byte, to *T, parse func(string) (T, error)) error {
	text := string(b)
	if text == "null" {
		return nil
	}
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	got, err := parse(text)
	if err == nil {
		*to = got
	}
	return err
}

// Format writes a duration without the units that are 0.
func Format(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Age writes how long something has lasted, in its two largest units.
func Age(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/(24*3600), s/3600%24)
}

// Megabytes writes a size with three digits that count, and never as a power of ten.
func Megabytes(n int64) string {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(float64(n)/1e6, 'g', 3, 64), 64)
	return strconv.FormatFloat(rounded, 'f', -1, 64) + " MB"
}
