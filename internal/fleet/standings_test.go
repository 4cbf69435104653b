package fleet

import (
	"fmt"
	"strings"
	"testing"

	"muster/hpc"
	mhttp "muster/http"
)

// TestStandings reads what slurmrestd lists of one job.
func TestStandings(t *testing.T) {
	together := func(indices, state, reason string) mhttp.SlurmElement {
		return mhttp.SlurmElement{Job: "12", Array: true, Indices: indices, State: state, Reason: reason}
	}
	one := func(index int, state string) mhttp.SlurmElement {
		return mhttp.SlurmElement{Job: "12", Array: true, Index: index, State: state, Node: "n1"}
	}
	for _, c := range []struct {
		what   string
		array  string
		listed []mhttp.SlurmElement
		want   string // index:Raw, for each
	}{
		{"nothing", "1-3", nil, ""},
		{"a plain job", "", []mhttp.SlurmElement{{Job: "12", State: "RUNNING"}}, "0:RUNNING"},
		{"an array that waits", "1-3", []mhttp.SlurmElement{together("1-3", "PENDING", "Priority")}, "1:PENDING 2:PENDING 3:PENDING"},
		{"some have begun", "1-4", []mhttp.SlurmElement{one(2, "RUNNING"), together("3-4", "PENDING", "Resources"), one(1, "COMPLETED")}, "1:COMPLETED 2:RUNNING 3:PENDING 4:PENDING"},
		{"those that ended are no longer listed", "1-9", []mhttp.SlurmElement{one(5, "RUNNING"), together("6,8-9", "PENDING", "")}, "5:RUNNING 6:PENDING 8:PENDING 9:PENDING"},
		{"a step", "2-10:4", []mhttp.SlurmElement{together("6,10", "PENDING", "")}, "6:PENDING 10:PENDING"},
		{"the list of those that wait is cut", "1-20", []mhttp.SlurmElement{one(2, "RUNNING"), together("3-5,9,11,1...", "PENDING", "")},
			"2:RUNNING 3:PENDING 4:PENDING 5:PENDING 9:PENDING 11:PENDING 12:PENDING 13:PENDING 14:PENDING 15:PENDING 16:PENDING 17:PENDING 18:PENDING 19:PENDING 20:PENDING"},
		{"it is cut to nothing", "1-2", []mhttp.SlurmElement{together("1...", "PENDING", "")}, "1:PENDING 2:PENDING"},
		{"it is not understood", "1-2", []mhttp.SlurmElement{together("0x3", "PENDING", "")}, "1:PENDING 2:PENDING"},
		{"an index that is nobody's", "1-2", []mhttp.SlurmElement{one(7, "RUNNING"), together("2-3", "PENDING", "")}, "2:PENDING"},
	} {
		var got []string
		for _, e := range standings(&Record{ID: "12", Array: c.array}, c.listed) {
			if e.Job != "12" {
				t.Errorf("%s: an element of job %s", c.what, e.Job)
			}
			got = append(got, fmt.Sprintf("%d:%s", e.Index, e.Raw))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.what, text, c.want)
		}
	}
	list := standings(&Record{ID: "12", Array: "1-2"}, []mhttp.SlurmElement{one(1, "OUT_OF_MEMORY"), together("2", "PENDING", "Licenses")})
	if fmt.Sprint(list) != fmt.Sprint(standings(&Record{ID: "12", Array: "1-2"}, []mhttp.SlurmElement{together("2", "PENDING", "Licenses"), one(1, "OUT_OF_MEMORY")})) {
		t.Error("the order in which they are listed matters")
	}
	if list[0].Node != "n1" || list[0].End != hpc.EndMemory || list[1].Reason != "Licenses" {
		t.Errorf("%+v", list)
	}
}
