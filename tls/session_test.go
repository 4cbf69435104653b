package tls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSessionKey(t *testing.T) {
	id := identity(t)
	link := func() (client, server *Conn) {
		client, server, err := connect(t, id, id.Pin())
		if err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	key := func(c *Conn, context string) SessionKey {
		k, err := NewSessionKey(c, []byte(context))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	firstClient, firstServer := link()
	k := key(firstClient, "worker 1")
	if key(firstServer, "worker 1") != k {
		t.Fatal("both ends have keys of their own")
	}
	otherClient, _ := link()
	for name, other := range map[string]SessionKey{"another worker": key(firstClient, "worker 2"), "another connection": key(otherClient, "worker 1")} {
		if other == k {
			t.Errorf("%s has the same key", name)
		}
	}
	client, server := link()
	proof, err := k.Proof(client, []byte("7 frames"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(proof, k[:]) {
		t.Error("the proof is the key")
	}
	if err := k.Check(server, []byte("7 frames"), proof); err != nil {
		t.Errorf("the right proof: %v", err)
	}
	_, replayed := link()
	for name, err := range map[string]error{
		"another key":        SessionKey{}.Check(server, []byte("7 frames"), proof),
		"another context":    k.Check(server, []byte("8 frames"), proof),
		"another connection": k.Check(replayed, []byte("7 frames"), proof),
		"no proof":           k.Check(server, []byte("7 frames"), nil),
	} {
		if !errors.Is(err, ErrSession) {
			t.Errorf("%s: %v, want ErrSession", name, err)
		}
	}
}

func TestSessionKeyNeverPrints(t *testing.T) {
	k := SessionKey{1, 2, 3}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %x %s %q %+v %d", k, k, k, k, struct{ K SessionKey }{k}, k)} {
		if strings.Contains(s, hex.EncodeToString(k[:3])) || !strings.Contains(s, "[redacted]") {
			t.Errorf("printed as %s", s)
		}
	}
}
