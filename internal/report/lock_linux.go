package report

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder names the process that has locked a file, as /proc/locks (proc_locks(5)) knows
// it; it is empty if nobody can be named.
func holder(f *os.File) string {
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	list, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return ""
	}
	for line := range strings.Lines(string(list)) {
		field := strings.Fields(line)
		if len(field) == 8 && field[1] == "FLOCK" && strings.HasSuffix(field[5], fmt.Sprintf(":%d", sys.Ino)) {
			return process(field[4])
		}
	}
	return ""
}

// process names a process by its number and its command.
func process(pid string) string {
	command, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if err != nil || len(command) == 0 {
		return "process " + pid
	}
	text := string(bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte{' '}))
	return fmt.Sprintf("process %s (%s)", pid, text[:min(len(text), 60)])
}
