package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var slurmTime = regexp.MustCompile(`^(?:([0-9]+)-)?([0-9]+)(?::([0-9]+))?(?::([0-9]+))?$`)

// ParseDuration reads a duration as Go writes them, 4h or 3h50m, or as Slurm
// does where that cannot be misread: HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil {
		if d < 0 {
			return 0, fmt.Errorf("%q is negative", s)
		}
		return d, nil
	}
	m := slurmTime.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no duration: write 90s, 4h, 3h50m, or 04:00:00 and 2-12:00:00 as Slurm does", s)
	}
	if m[1] == "" && m[4] == "" {
		return 0, fmt.Errorf("%q can be read in two ways: write it with units, such as 90s, 4h or 3h50m, or as HH:MM:SS", s)
	}
	var total time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + m[i+1])
		if n > 100_000 {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)$`)

var sizeUnits = map[string]int64{"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}

// ParseSize reads bytes: 16GB is 16,000,000,000 and 16GiB is 17,179,869,184.
func ParseSize(s string) (int64, error) {
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no size: write 512MB, 16GB or 16GiB", s)
	}
	unit, ok := sizeUnits[strings.ToLower(m[2])]
	if !ok {
		return 0, fmt.Errorf("%q has no unit that is known, and schedulers disagree on what it would mean: write 512MB (metric) or 512MiB", s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*float64(unit) >= 1<<62 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(n * float64(unit)), nil
}
