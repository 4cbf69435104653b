package share

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Available returns how many bytes of memory this process can still have: what the
// machine has, or what its control groups leave it, if that is less (proc_meminfo(5),
// and the kernel's cgroup-v1/memory and cgroup-v2).
func Available() (int64, error) { return availableBelow("/") }

// availableBelow is Available with the files of another root.
func availableBelow(root string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, fmt.Errorf("find out how much memory there is: %w", err)
	}
	kilobytes, ok := numberOf(text, "MemAvailable:")
	if !ok {
		return 0, fmt.Errorf("find out how much memory there is: /proc/meminfo has no MemAvailable")
	}
	left := kilobytes << 10
	text, _ = os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			left = min(left, leftInGroup(root, f[1], f[2], left))
		}
	}
	return max(left, 0), nil
}

// memoryFiles are the names by which a version of control groups has its figures.
type memoryFiles struct{ limit, usage, reclaimable string }

var (
	memoryFilesV1 = memoryFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
	memoryFilesV2 = memoryFiles{"memory.max", "memory.current", "inactive_file"}
)

// leftInGroup returns what a control group and those above it leave, most if they limit
// nothing. controllers are empty for version 2.
func leftInGroup(root, controllers, group string, most int64) int64 {
	files, mounts := memoryFilesV2, []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
	if controllers != "" {
		files, mounts = memoryFilesV1, []string{"sys/fs/cgroup/memory"}
		if !strings.Contains(","+controllers+",", ",memory,") {
			return most
		}
	}
	for _, mount := range mounts {
		for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
			if n, ok := files.left(filepath.Join(root, mount, dir)); ok {
				most = min(most, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return most
}

// left returns what one group leaves: its limit without what it uses and cannot drop.
func (m memoryFiles) left(dir string) (int64, bool) {
	limit, ok := readNumber(filepath.Join(dir, m.limit))
	if !ok {
		return 0, false
	}
	used, ok := readNumber(filepath.Join(dir, m.usage))
	if !ok {
		return 0, false
	}
	stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
	drops, _ := numberOf(stat, m.reclaimable)
	return limit - max(used-drops, 0), true
}

// readNumber reads a file that has one number; "max" is none.
func readNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

// numberOf returns the number that follows a name at the beginning of a line.
func numberOf(text []byte, name string) (int64, bool) {
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 2 || f[0] != name {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		return n, err == nil
	}
	return 0, false
}
