package control

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestClientsAreBounded: whoever is one too many is told so, and when somebody goes there
// is room again.
func TestClientsAreBounded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/wait" {
			asked <- struct{}{}
			<-answer
		}
		writeJSON(w, http.StatusOK, struct{}{})
	})}
	go server.Serve(limitClients(l, 2))
	t.Cleanup(func() { server.Close() })
	ended := make(chan error)
	for range 2 {
		c := NewClient(socket)
		defer c.Close()
		go func() {
			_, err := c.do(t.Context(), "POST", "/wait", strings.NewReader("{}"))
			c.Close()
			ended <- err
		}()
		<-asked
	}
	for range 64 { // who say nothing, as many as are turned away at once
		quiet, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer quiet.Close()
	}
	c := NewClient(socket)
	defer c.Close()
	for range 3 {
		_, err := c.do(t.Context(), "POST", "/info", strings.NewReader(strings.Repeat("x", 1<<20)))
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != "full" || !strings.Contains(refused.Message, "2 clients") {
			t.Fatalf("a third client: %v", err)
		}
	}
	server.SetKeepAlivesEnabled(false)
	close(answer)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for {
		body, err := c.do(t.Context(), "GET", "/info", nil)
		if err == nil {
			body.Close()
			return
		}
		if refused := (*Error)(nil); !errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
}
