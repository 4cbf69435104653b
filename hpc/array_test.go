package hpc

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseArray(t *testing.T) {
	for text, want := range map[string]struct {
		count, last int
		again       string
	}{
		"1-100%20": {100, 100, "1-100%20"}, "1-20:2%4": {10, 20, "1-20:2%4"}, "5": {1, 5, "5"},
		"1,3,7-9": {5, 9, "1,3,7-9"}, "0-3": {4, 3, "0-3"}, "1-1": {1, 1, "1"},
	} {
		a, err := ParseArray(text)
		if err != nil || a.Count() != want.count || a.Last() != want.last || a.String() != want.again {
			t.Errorf("%q is %+v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "x", "3-1", "1-", "-1", "1:2", "1-5:0", "1-5%0", "1-5%", "1,,2", "1-5,3", "7,7", "1-9:2,4-8:4,5", "1-10000001", "1-99999999999", "1 - 5"} {
		if a, err := ParseArray(text); err == nil {
			t.Errorf("%q is taken as %+v", text, a)
		}
	}
	for text, want := range map[string]string{
		"1-1000000001":              `the array 1-1000000001 has 1000000001 elements, and 1000000 are the most`,
		"1-600000,700000-1200000:1": "has 1100001 elements",
		"1-9:2,5":                   `the array 1-9:2,5 has the index 5 twice`,
		"3,1-2,3%2":                 "has the index 3 twice",
	} {
		if a, err := ParseArray(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v, want %s", text, a, err, want)
		}
	}
	if a, err := ParseArray("1-1000000"); err != nil || a.Count() != MaxElements {
		t.Errorf("%+v, %v", a, err)
	}
	for _, c := range []struct{ array, limit, want string }{
		{"1-10", "0", "1-10"}, {"1-10", "10", "1-10"}, {"1-10", "4", "1-4 1-4 1-2"}, {"2-10:2%3", "5", "2-4:2%3 2-4:2%3 2%3"},
	} {
		a, _ := ParseArray(c.array)
		limit, _ := strconv.Atoi(c.limit)
		var parts []string
		for _, p := range a.Split(limit) {
			parts = append(parts, p.String())
		}
		if got := strings.Join(parts, " "); got != c.want {
			t.Errorf("%s at most %s is split into %s, want %s", c.array, c.limit, got, c.want)
		}
	}
	if got := spans([]int{5, 1, 2, 3, 9}); !slices.Equal(got, []Span{{1, 3, 1}, {5, 5, 1}, {9, 9, 1}}) {
		t.Errorf("spans %v", got)
	}
	a, _ := ParseArray("3-9:3%2")
	if got := a.Sized(5).String(); got != "3-15:3%2" {
		t.Errorf("resized to %s", got)
	}
	if got := (*Array)(nil).Sized(1).String(); got != "1" {
		t.Errorf("one is %s", got)
	}
}

// TestArrayTravels: what comes from elsewhere is as sound as what was written.
func TestArrayTravels(t *testing.T) {
	a, err := ParseArray("1,4-8:2%3")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(Job{Array: a})
	if err != nil {
		t.Fatal(err)
	}
	var j Job
	if err := json.Unmarshal(b, &j); err != nil || !reflect.DeepEqual(j.Array, a) {
		t.Errorf("%s is read as %+v, %v", b, j.Array, err)
	}
	for _, text := range []string{`{"Array": "1-1000000000"}`, `{"Array": ""}`, `{"Array": {"Spans": [{"First": 1, "Last": 9, "Step": 0}]}}`} {
		if err := json.Unmarshal([]byte(text), &j); err == nil {
			t.Errorf("%s is taken as %+v", text, j.Array)
		}
	}
}

func FuzzParseArray(f *testing.F) {
	f.Add("1-20:2%4")
	f.Add("1,3,7-9")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArray(text)
		if err != nil {
			return
		}
		if b, err := ParseArray(a.String()); err != nil || b.Count() != a.Count() || b.Throttle != a.Throttle {
			t.Errorf("%q is written %q, which is %+v, %v", text, a, b, err)
		}
	})
}
