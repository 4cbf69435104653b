package future_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"muster/future"
	"muster/internal/testbed"
)

var joinSeen = future.Register("join seen", func(_ context.Context, _ struct{}) (bool, error) {
	env, err := os.ReadFile("/proc/self/environ")
	return bytes.Contains(env, []byte("muster1:")), err
})

// TestServiceLauncher: a worker that a service starts over HTTP is this test binary,
// with the join string that was sent, and does not keep that in its environment.
func TestServiceLauncher(t *testing.T) {
	dir := t.TempDir()
	service, err := testbed.StartService(testbed.ServiceOptions{Dir: dir, Env: os.Environ(), Work: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Stop)
	file := filepath.Join(dir, "muster.hcl")
	text := "launcher \"http\" \"service\" {\n  url = \"" + service.URL + "/jobs\"\n  token = \"" + service.Token + "\"\n  data = jsonencode({ command = worker.command })\n  workdir = \"/\"\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := session(t, future.Launcher(file, "service"), future.Workers(1), future.URL("tls+tcp://127.0.0.1:0"))
	f, err := future.Submit(t.Context(), s, joinSeen, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if got(f.Collect(t.Context()))(t) {
		t.Error("the join string is in the worker's environment")
	}
}
