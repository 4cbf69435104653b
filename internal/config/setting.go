package config

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// valueKind is what a setting's value must be.
type valueKind uint8

const (
	text valueKind = iota
	texts
	count
	truth
	duration
	size
	reference
	arrayText // a string, or a number for one index
	anything
)

// setting is a name that may stand in a block. later is set for those that
// this version reads and can do nothing with yet.
type setting struct {
	kind  valueKind
	later bool
}

var kinds = []string{"cluster", "ssh", "http", "command"}

var launcherSettings = map[string]map[string]setting{
	"cluster": {
		"scheduler": {kind: text}, "command": {kind: text}, "array": {kind: arrayText}, "walltime": {kind: duration},
		"cpus": {kind: count}, "memory": {kind: size}, "gpus": {kind: count}, "queue": {kind: text}, "account": {kind: text},
		"name": {kind: text}, "output": {kind: text}, "parallel_environment": {kind: text}, "shell": {kind: text},
		"workdir": {kind: text}, "setup": {kind: texts}, "options": {kind: text}, "options_file": {kind: text},
		"muster": {kind: text}, "worker_command": {kind: text}, "bare": {kind: truth}, "join": {kind: text},
		"slots": {kind: count}, "poll": {kind: duration}, "via": {kind: reference},
	},
	"ssh": {
		"remotes": {kind: texts}, "tunnel": {kind: truth}, "timeout": {kind: duration}, "command": {kind: text},
		"muster": {kind: text}, "worker_command": {kind: text}, "client": {kind: text}, "via": {kind: reference},
		"accept_new": {kind: truth}, "state": {kind: text}, "binary": {kind: text}, "addresses": {kind: texts},
		"workdir": {kind: text}, "slots": {kind: count}, "poll": {kind: duration}, "bare": {kind: truth},
	},
	"http": {
		"preset": {kind: text}, "cluster": {kind: text}, "resource_profile": {kind: text}, "url": {kind: anything},
		"method": {kind: text}, "token": {kind: anything}, "cookie": {kind: anything}, "headers": {kind: anything}, "data": {kind: anything},
		"timeout": {kind: duration}, "cpus": {kind: count}, "memory": {kind: size}, "job_name": {kind: text},
		"muster": {kind: text}, "worker_command": {kind: text},
	},
	"command": {"command": {kind: text}, "args": {kind: texts}, "quote": {kind: truth}, "muster": {kind: text}, "worker_command": {kind: text}},
}

var profileSettings = map[string]setting{
	"url": {kind: anything}, "launcher": {kind: reference}, "workers": {kind: count},
	"memory": {kind: size}, "scheduling": {kind: text}, "reattach": {kind: duration}, "everywhere": {kind: texts},
	"seed": {count, true}, "sync": {kind: truth},
}

var profileBlocks = map[string]map[string]setting{
	"worker": {"slots": {kind: count}, "walltime": {kind: duration}, "idletime": {kind: duration}, "maxtasks": {kind: count},
		"cleanup": {kind: truth}, "autoexit": {kind: text}, "output": {kind: text}, "asyncdial": {kind: truth}},
	"tls": {"cert": {text, true}, "key": {text, true}, "ca": {text, true}, "pass": {text, true}},
}

func names(m map[string]setting) []string { return slices.Sorted(maps.Keys(m)) }

// convert makes a Go value of v: string, []string, int, bool, time.Duration,
// int64 of bytes, or what it is for anything.
func (s setting) convert(v cty.Value) (any, error) {
	if s.kind == anything || s.kind == reference {
		return v, nil
	}
	if v.IsNull() {
		return nil, errors.New("it is null")
	}
	want := cty.String
	switch s.kind {
	case texts:
		want = cty.List(cty.String)
	case count:
		want = cty.Number
	case truth:
		want = cty.Bool
	}
	if s.kind == text && v.Type() != cty.String {
		return nil, fmt.Errorf("this must be a string, and is %s", v.Type().FriendlyName())
	}
	got, err := convert.Convert(v, want)
	if err != nil {
		return nil, fmt.Errorf("this must be %s, and is %s", want.FriendlyName(), v.Type().FriendlyName())
	}
	switch s.kind {
	case texts:
		var list []string
		for _, e := range got.AsValueSlice() {
			if e.IsNull() {
				return nil, errors.New("an element is null")
			}
			list = append(list, e.AsString())
		}
		return list, nil
	case count:
		n, accuracy := got.AsBigFloat().Int64()
		if accuracy != big.Exact || n < 0 || n > 1<<30 {
			return nil, fmt.Errorf("this must be a whole number from 0, and is %s", got.AsBigFloat().Text('g', 20))
		}
		return int(n), nil
	case truth:
		return got.True(), nil
	case duration:
		return ParseDuration(got.AsString())
	case size:
		return ParseSize(got.AsString())
	}
	return got.AsString(), nil
}

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
