package control

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

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
