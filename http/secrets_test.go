package http

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestEcho has a service answer with all that it was sent, in several ways: nothing that
// is secret comes out in a text for people.
func TestEcho(t *testing.T) {
	const token, cookie, key, password, join = `to"ken-1`, "session=c00kie; theme=d", "k+ey/9=", "pass%word", "muster1:eyJhIjpb_-9"
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Set-Cookie", "theirs=own")
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(500)
		_, pass, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %q %s %s c00kie k%%2Bey%%2F9%%3D muster1%%3AeyJhIjpb_-9 %s plain-one [%s]", r.Header.Get("Authorization"), r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("X-Key"), body, pass)
	})
	u = strings.Replace(u, "://", "://me:pass%25word@", 1)
	r := Request{Method: "POST", URL: u, Body: "run " + join + " there", Headers: []Header{
		{"Authorization", "Bearer " + token}, {"Cookie", cookie}, {"X-Key", key}, {"Idempotency-Key", "plain-one"}, {"X-Flag", "no"}}}
	a, err := client(t).Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	shown := a.Shown()
	for _, text := range []string{a.Text(), shown.Body, fmt.Sprint(shown.Headers)} {
		for _, secret := range []string{"ken-1", "c00kie", "ey/9", "ey%2F9", "pass", "eyJ", "theirs"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", secret, text)
			}
		}
	}
	if !strings.Contains(a.Body, token) || !strings.Contains(a.Text(), "run [redacted] there") || !strings.Contains(a.Text(), "plain-one") {
		t.Errorf("of %s is left %s", a.Body, a.Text())
	}
	// A secret that is cut in two where the text ends is none of it either.
	a.Body = strings.Repeat("x ", 240) + join + strings.Repeat("Z", 4000) + " and " + token
	if text := a.Text(); strings.Contains(text, "muster1") || strings.Contains(text, "ZZ") {
		t.Errorf("cut to %s", text)
	}
}
