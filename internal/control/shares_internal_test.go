package control

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"muster/task"
)

func TestSharesOfATask(t *testing.T) {
	mark := task.ShareMark("a")
	for name, c := range map[string]struct {
		t    Task
		want string // of the error
	}{
		"a mark":              {Task{Argv: []string{"cat", "x" + mark + mark}, Shares: []string{"a"}}, ""},
		"a mark, base64":      {Task{Argv: []string{"Y2F0", "AHthfQ=="}, Shares: []string{"a"}, Base64: true}, ""},
		"of another":          {Task{Argv: []string{"cat", mark}, Shares: []string{"b"}}, "holds a NUL"},
		"without a name":      {Task{Argv: []string{"cat", mark}}, "holds a NUL"},
		"in a variable":       {Task{Argv: []string{"cat"}, Env: Env{"A=" + mark}, Shares: []string{"a"}}, "holds a NUL"},
		"a NUL beside it":     {Task{Argv: []string{"cat", mark + "\x00"}, Shares: []string{"a"}}, "holds a NUL"},
		"a name that is none": {Task{Argv: []string{"cat"}, Shares: []string{"../x"}}, `shares: "../x" is no name of a share`},
	} {
		_, err := c.t.Spec()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	spec := task.Spec{Argv: []string{"cat", mark}, Shares: []task.Share{{Name: "a", Needed: true}, {Name: "b"}}}
	text, err := json.Marshal(NewTask(spec))
	if err != nil || !strings.Contains(string(text), `"\u0000{a}"],"shares":["a"]`) {
		t.Errorf("%s: %v", text, err)
	}
}

// TestAClientThatHangs sends some bytes of a share and then nothing.
func TestAClientThatHangs(t *testing.T) {
	got := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(&patientBody{r.Body, http.NewResponseController(w), 100 * time.Millisecond})
		if string(b) != "abc" {
			t.Errorf("%q came", b)
		}
		got <- err
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := <-got; err == nil || !strings.Contains(err.Error(), "nothing came for 100ms") {
		t.Errorf("after a client that hung: %v", err)
	}
}
