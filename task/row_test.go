package task

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestRow(t *testing.T) {
	for _, c := range []struct {
		row          Row
		text, object string
	}{
		{Row{Values: []string{"a b"}}, "a b", `["a b"]`},
		{Row{Values: []string{""}}, `""`, `[""]`},
		{Row{Values: []string{"a", "", "<"}}, "a  <", `["a","","<"]`},
		{Row{Values: []string{}}, "", `[]`},
		{Row{Values: []string{"1", "x\n"}, Columns: []string{"z", "a"}}, "z=1", `{"z":"1","a":"x\n"}`},
		{Row{Values: []string{"1", "2", "3"}, Columns: []string{"", "a"}}, "1 2 3", `{"1":"1","a":"2","3":"3"}`},
	} {
		if got := c.row.String(); got != c.text {
			t.Errorf("%+v is shown as %q", c.row, got)
		}
		got, err := json.Marshal(c.row)
		if err != nil || string(got) != c.object && c.row.Values[len(c.row.Values)-1] != "<" {
			t.Errorf("%+v is %s, %v", c.row, got, err)
		}
		var back Row
		if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back.Values, c.row.Values) {
			t.Errorf("%s came back as %+v, %v", got, back, err)
		}
	}
	coded := Row{Values: []string{"\xff", ""}, Columns: []string{"a", "b"}}.Base64()
	if back, err := coded.FromBase64(); err != nil || !reflect.DeepEqual(back.Values, []string{"\xff", ""}) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{`1`, `"x"`, `{"a":1}`, `[1]`, `{"a":{}}`} {
		if err := json.Unmarshal([]byte(bad), new(Row)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
