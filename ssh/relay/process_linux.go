package relay

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
)

// identify names a process; it is without Start if there is none.
func identify(pid int) Process {
	start, _ := readStat(pid)
	return Process{pid, start}
}

func isAlive(p Process) bool {
	if p.Pid <= 0 || p.Start == "" {
		return false
	}
	start, dead := readStat(p.Pid)
	return start == p.Start && !dead
}

// readStat reads when a process started, "" if there is none, and whether it has
// ended and waits to be reaped: proc(5), /proc/PID/stat, fields 22, 3 and 20. Before
// them stands the command's name in parentheses, which may hold anything. The
// first thread may be a zombie while others run on.
func readStat(pid int) (start string, dead bool) {
	b, err := readProc(pid, "stat")
	if err != nil {
		return "", false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return "", false
	}
	ended := f[0][0] == 'Z' || f[0][0] == 'X'
	return string(f[19]), ended && (string(f[17]) == "0" || string(f[17]) == "1")
}

// isOurs reports whether the process has our effective user id. The owner of
// /proc/PID does not tell: it is root's if the process may not be dumped.
func isOurs(pid int) bool {
	b, err := readProc(pid, "status")
	if err != nil {
		return false
	}
	_, ids, _ := strings.Cut(string(b), "\nUid:")
	f := strings.Fields(ids) // real, effective, ...
	return len(f) > 1 && f[1] == strconv.Itoa(os.Geteuid())
}

// isRelay reports whether the process looks like a muster relay.
func isRelay(pid int) bool {
	b, err := readProc(pid, "cmdline")
	return err == nil && bytes.Contains(b, []byte("relay"))
}

func readProc(pid int, file string) ([]byte, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/" + file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 16<<10))
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
