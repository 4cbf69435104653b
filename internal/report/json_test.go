package report_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"muster/internal/report"
	"muster/rng"
	"muster/task"
)

func printJSON(t *testing.T, items ...report.Item) string {
	t.Helper()
	var out, errs bytes.Buffer
	w := open(t, report.Options{Stdout: &out, Stderr: &errs, JSON: true})
	put(t, w, items...)
	closeIt(t, w)
	if errs.Len() > 0 {
		t.Errorf("JSON wrote to stderr: %q", errs.String())
	}
	if !utf8.Valid(out.Bytes()) {
		t.Error("what was printed is not UTF-8")
	}
	if strings.Count(out.String(), "\n") != len(items) {
		t.Errorf("%d lines for %d items", strings.Count(out.String(), "\n"), len(items))
	}
	return out.String()
}

func TestJSONLine(t *testing.T) {
	m := newMaker(t)
	good := m.item(3, "a <b>\n", "")
	good.Result.Name, good.Result.Stream = "third", rng.Seed(1234)
	good.Row = task.Row{Values: []string{"1", "two\n"}, Columns: []string{"z", "a"}}
	want := `{"index":3,"name":"third","argv":["echo","x"],"input":{"z":"1","a":"two\n"},"ok":true,"exit":0,"error":null,` +
		`"stdout":"a <b>\n","stdout_truncated":false,"stderr":"","stderr_truncated":false,` +
		`"stdout_bytes":6,"stderr_bytes":0,"worker":"w1","slot":2,"attempt":1,` +
		`"started":"2026-03-04T05:06:07.89Z","seconds":1.5,"stream":[-305777535,-1394370482,-1723143049,2071488076,1659356893,-1081051142]}` + "\n"
	if got := printJSON(t, good); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	never := report.Item{Result: task.Result{Index: 1, Argv: []string{"x"}, Err: task.Cancelled("Ctrl-C")}}
	want = `{"index":1,"argv":["x"],"ok":false,"exit":null,` +
		`"error":{"kind":"cancelled","class":"neither","code":20,"message":"Operation canceled","evidence":"Ctrl-C"},` +
		`"stdout":"","stdout_truncated":false,"stderr":"","stderr_truncated":false,` +
		`"stdout_bytes":0,"stderr_bytes":0,"worker":"","slot":0,"attempt":0,"started":null,"seconds":0,"stream":null}` + "\n"
	if got := printJSON(t, never); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestJSONErrors(t *testing.T) {
	for _, tc := range []struct {
		err  task.ErrorValue
		want string
	}{
		{task.ErrorValue{Kind: task.KindExit, Code: 3, Message: "exit status 3"},
			`"exit":3,"error":{"kind":"exit","class":"error","code":3,"message":"exit status 3"},`},
		{task.ErrorValue{Kind: task.KindSignal, Code: 139, Message: "m", Signal: "SIGSEGV"},
			`"exit":null,"error":{"kind":"signal","class":"error","code":139,"message":"m","signal":"SIGSEGV"},`},
		{task.ErrorValue{Kind: task.KindError, Code: 1, Message: "m", Detail: json.RawMessage("{\n \"class\": [\"e<\"]}\n")},
			`"exit":1,"error":{"kind":"error","class":"error","code":1,"message":"m","detail":{"class":["e<"]}},`},
		{task.ErrorValue{Kind: task.KindError, Message: "m", Detail: json.RawMessage("oops\n")},
			`"exit":null,"error":{"kind":"error","class":"error","code":0,"message":"m","detail":"oops\n"},`},
		{task.ErrorValue{Kind: task.KindError, Message: "m", Detail: json.RawMessage("\"\xff\"")},
			`"message":"m","detail":"` + "\uFFFD" + `"},`},
	} {
		got := printJSON(t, failed(newMaker(t).item(1, "", ""), &tc.err))
		if !strings.Contains(got, tc.want) || !strings.Contains(got, `"ok":false,`) {
			t.Errorf("got %swant %s", got, tc.want)
		}
	}
}

func TestJSONWhatIsNotUTF8(t *testing.T) {
	it := newMaker(t).item(1, "caf\xe9", "fine \uFFFD\x00")
	it.Result.Name = "n\xff"
	it.Result.Argv = []string{"ok", "\x80"}
	it.Row = task.Row{Values: []string{"\xfe"}, Columns: []string{"c"}}
	line := printJSON(t, it)
	var got struct {
		Name, Stdout, Stderr *string
		Argv, Input          any
		NameBase64           []byte            `json:"name_base64"`
		ArgvBase64           [][]byte          `json:"argv_base64"`
		InputBase64          map[string][]byte `json:"input_base64"`
		StdoutBase64         []byte            `json:"stdout_base64"`
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != nil || got.Stdout != nil || got.Argv != nil || got.Input != nil {
		t.Errorf("the text fields are there too: %s", line)
	}
	if string(got.NameBase64) != "n\xff" || string(got.StdoutBase64) != "caf\xe9" ||
		string(bytes.Join(got.ArgvBase64, []byte("|"))) != "ok|\x80" || string(got.InputBase64["c"]) != "\xfe" {
		t.Errorf("wrong bytes in %s", line)
	}
	if got.Stderr == nil || *got.Stderr != "fine \uFFFD\x00" {
		t.Errorf("stderr is text, but not in %s", line)
	}
}

func TestJSONCarriesTheLastMiB(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name, output, tail string
		truncated          bool
	}{
		{"exactly", strings.Repeat("x", mib), strings.Repeat("x", mib), false},
		{"one more", "y" + strings.Repeat("x", mib), strings.Repeat("x", mib), true},
		{"through a rune", "é" + strings.Repeat("x", mib-1), strings.Repeat("x", mib-1), true},
		{"bytes", "\x80\x80" + strings.Repeat("\xff", mib), strings.Repeat("\xff", mib), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMaker(t)
			line := printJSON(t, m.item(1, tc.output, ""))
			var got struct {
				Stdout string
				Base64 string `json:"stdout_base64"`
				Bytes  int    `json:"stdout_bytes"`
				Trunc  bool   `json:"stdout_truncated"`
				File   string `json:"stdout_file"`
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			if got.Base64 != "" {
				p, err := base64.StdEncoding.DecodeString(got.Base64)
				if err != nil {
					t.Fatal(err)
				}
				got.Stdout = string(p)
			}
			if got.Stdout != tc.tail || got.Bytes != len(tc.output) || got.Trunc != tc.truncated {
				t.Errorf("carried %d of %d bytes, truncated %v", len(got.Stdout), got.Bytes, got.Trunc)
			}
			if !tc.truncated {
				if got.File != "" || m.left() != 0 {
					t.Errorf("a file is left: %q, %d", got.File, m.left())
				}
				return
			}
			if whole, err := os.ReadFile(got.File); err != nil || string(whole) != tc.output {
				t.Errorf("stdout_file: %d bytes, %v", len(whole), err)
			}
		})
	}
}

func TestJSONInOrder(t *testing.T) {
	m := newMaker(t)
	var out bytes.Buffer
	w := open(t, report.Options{Stdout: &out, JSON: true, Keep: true})
	put(t, w, m.item(2, "", ""))
	if out.Len() > 0 {
		t.Errorf("printed before its turn: %s", out.String())
	}
	put(t, w, m.item(1, "", ""))
	closeIt(t, w)
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], `{"index":1,`) || !strings.HasPrefix(lines[1], `{"index":2,`) {
		t.Errorf("order is %s", out.String())
	}
}
