package share

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemTotal: 4000 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no groups": {map[string]string{}, 2000 << 10},
		"version 2": {map[string]string{
			"proc/self/cgroup":                   "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":       "1000000\n",
			"sys/fs/cgroup/a/b/memory.current":   "400000\n",
			"sys/fs/cgroup/a/b/memory.stat":      "anon 5\ninactive_file 100000\n",
			"sys/fs/cgroup/a/memory.max":         "max\n",
			"sys/fs/cgroup/a/memory.current":     "900000\n",
			"sys/fs/cgroup/unrelated/memory.max": "1\n",
		}, 700000},
		"version 2, the group above": {map[string]string{
			"proc/self/cgroup":                 "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":     "1000000\n",
			"sys/fs/cgroup/a/b/memory.current": "400000\n",
			"sys/fs/cgroup/a/memory.max":       "900000\n",
			"sys/fs/cgroup/a/memory.current":   "800000\n",
		}, 100000},
		"version 2, a container": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "500000\n",
			"sys/fs/cgroup/memory.current": "100000\n",
		}, 400000},
		"version 1": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "300000\n",
			"sys/fs/cgroup/memory/job/memory.usage_in_bytes": "200000\n",
			"sys/fs/cgroup/memory/job/memory.stat":           "total_inactive_file 50000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes":     "1\n",
		}, 150000},
		"more used than allowed": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "100\n",
			"sys/fs/cgroup/memory.current": "200\n",
		}, 0},
	} {
		root := t.TempDir()
		c.files["proc/meminfo"] = meminfo
		for path, text := range c.files {
			full := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := availableBelow(root); err != nil || got != c.want {
			t.Errorf("%s: %d bytes, want %d: %v", name, got, c.want, err)
		}
	}
}

func TestAvailableHere(t *testing.T) {
	if n, err := Available(); err != nil || n < 1<<20 {
		t.Errorf("%d bytes: %v", n, err)
	}
}
