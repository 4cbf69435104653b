package http

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFill(t *testing.T) {
	for _, c := range []struct {
		data, text string
		e          Escaping
		want       string
	}{
		{`{"c":"%s"}`, "a \"b\" \\ \n\t\x01 <&> \u2028 ü", JSON, `{"c":"a \"b\" \\ \n\t\u0001 <&> \u2028 ü"}`},
		{`%s%s 100%% %%s`, "x", JSON, `xx 100% %s`},
		{`c=%s&d=1`, "a b&c=d%+ü\n", Form, `c=a+b%26c%3Dd%25%2B%C3%BC%0A&d=1`},
		{`%s`, "a\n\"\xff", Plain, "a\n\"\xff"},
		{`{"a":"%s"}`, "\\\"\n\t", Mirai, `{"a":"\\\"\n` + "\t" + `"}`},
		{`{"a":"%s"}`, `\n`, Mirai, `{"a":"\\n"}`},
		{"%s", "100%s %%", Plain, "100%s %%"}, // what is filled in is not read again
		{"", "x", JSON, ""},
	} {
		if got, err := Fill(c.data, c.text, c.e); got != c.want || err != nil {
			t.Errorf("Fill(%q, %q, %d) = %q, %v; want %q", c.data, c.text, c.e, got, err, c.want)
		}
	}
	for data, want := range map[string]string{"a %d": `"%d"`, "100%": `"%"`, "%%%": `"%"`, "%ü": `"%ü"`, "%\xff": `"%\xff"`} {
		if got, err := Fill(data, "secret", JSON); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "write %% for a percent sign") || strings.Contains(err.Error(), "secret") {
			t.Errorf("Fill(%q) = %q, %v; want an error with %s", data, got, err, want)
		}
	}
	if got, err := Fill("%s", "\xff", JSON); err == nil {
		t.Errorf("what is not UTF-8 becomes the JSON %q", got)
	}
}

func TestHasPlace(t *testing.T) {
	for data, want := range map[string]bool{"%s": true, "a%sb": true, "%%s": false, "%%%s": true, "%%%%s": false, "": false, "%": false, "%%": false, "s%": false} {
		if got := HasPlace(data); got != want {
			t.Errorf("HasPlace(%q) = %v", data, got)
		}
	}
}

func TestEscapingFor(t *testing.T) {
	for kind, want := range map[string]Escaping{"": JSON, "application/json": JSON, "application/x-www-form-urlencoded": Form, "Application/X-WWW-Form-Urlencoded; charset=utf-8": Form,
		"text/plain": Plain, "text/plain;charset=utf-8": Plain, "text/html": JSON, "application/vnd.api+json": JSON, ";;": JSON} {
		if got := EscapingFor(kind); got != want {
			t.Errorf("EscapingFor(%q) = %d, want %d", kind, got, want)
		}
	}
}

// FuzzFill has the readers of JSON and of forms judge.
func FuzzFill(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\n\r\t\x00\x1f\x7f", "\u2028\u2029\ufeff", "%s%%", "ü€😀", "\xff", "&=+; %41", "</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		body, err := Fill(`{"c":"%s"}`, text, JSON)
		if utf8.ValidString(text) != (err == nil) {
			t.Fatalf("%q: %v", text, err)
		}
		var v struct{ C string }
		if err == nil && (json.Unmarshal([]byte(body), &v) != nil || v.C != text) {
			t.Errorf("%q is read as %q from %s", text, v.C, body)
		}
		form, err := Fill("c=%s&d=1", text, Form)
		q, perr := url.ParseQuery(form)
		if err != nil || perr != nil || q.Get("c") != text || q.Get("d") != "1" || len(q) != 2 {
			t.Errorf("%q is read as %q from %s: %v, %v", text, q, form, err, perr)
		}
		plain, err := Fill("<%s>", text, Plain)
		if plain != "<"+text+">" || err != nil {
			t.Errorf("%q is %q: %v", text, plain, err)
		}
		// What the user wrote never makes it panic, and without %s nothing is put in.
		if out, err := Fill(text, "WORKER", Plain); err == nil && !HasPlace(text) && out != strings.ReplaceAll(text, "%%", "%") {
			t.Errorf("%q has no place and becomes %q", text, out)
		}
	})
}
