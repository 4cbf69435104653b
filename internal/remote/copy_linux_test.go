package remote_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/internal/testbed"
)

// TestCopyFullDisk: nothing half is left, and what to do is said, in the words of
// the machine.
func TestCopyFullDisk(t *testing.T) {
	t.Parallel()
	for way, lines := range map[string][]string{"sftp": {plain}, "cat": {"Subsystem other internal-sftp"}} {
		for _, client := range clients {
			t.Run(way+" "+client, func(t *testing.T) {
				t.Parallel()
				m := newCarrier(t, client, lines...)
				if err := os.Mkdir(m.login.State, 0o700); err != nil {
					t.Fatal(err)
				}
				testbed.Tmpfs(t, m.login.State, "2m")
				err := m.fails(t.Context())
				for _, want := range []string{"copy muster (5.3 MB) to " + filepath.Dir(m.target()) + ": ", "No space left on device", "`state = \"/a/folder/with/room\"` in the launcher"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v, want %q", err, want)
					}
				}
				if left := m.left(); len(left) > 0 {
					t.Errorf("left are %q", left)
				}
			})
		}
	}
}

// TestCopyRoomIsTaken by what another copy has left: that is removed, so that the
// next attempt has the room.
func TestCopyRoomIsTaken(t *testing.T) {
	t.Parallel()
	program, err := big()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	m := newCarrier(t, "", plain)
	if err := os.Mkdir(m.login.State, 0o700); err != nil {
		t.Fatal(err)
	}
	testbed.Tmpfs(t, m.login.State, "7m")
	dir := filepath.Dir(m.target())
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, ".new-1"), whole[:3<<20], 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := m.fails(t.Context()); !strings.Contains(err.Error(), "No space left on device") {
		t.Error(err)
	}
	m.open()
	m.arrived()
}
