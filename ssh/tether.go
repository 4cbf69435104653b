package ssh

import (
	"fmt"
	"os"
	"os/exec"
)

// supervisor is a shell that runs a program and ends it when descriptor 3 does: even
// if this process is killed, which it cannot see to. Linux alone could have the
// kernel do that (PR_SET_PDEATHSIG in prctl(2)), and only at the end of a thread.
//
// The program is in the shell's process group and has its descriptors, less the
// third. SIGTERM is passed on to it, its exit status is the shell's. When the pipe
// ends it gets two seconds, and then nothing of the group is left.
const supervisor = `trap 'kill "$program"' TERM
"$@" 3<&- &
program=$!
exec >/dev/null 2>&1
{
	read -r end <&3
	trap '' TERM
	for i in 1 2; do kill "$program" && sleep 1; done
	kill -9 0
} &
wait "$program"
status=$?
while kill -0 "$program"; do
	wait "$program"
	status=$?
done
kill "$!"
exit "$status"`

// tethered makes a command that does not outlive this process. It runs in a
// session of its own, as group has it. The caller starts it, then closes its
// ExtraFiles, and closes the tether when it has ended.
func tethered(argv []string) (cmd *exec.Cmd, tether *os.File, err error) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, nil, notInstalled(argv[0], err)
	}
	end, tether, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", argv[0], err)
	}
	cmd = exec.Command("/bin/sh", append([]string{"-c", supervisor, "sh"}, argv...)...)
	cmd.ExtraFiles = []*os.File{end}
	group(cmd)
	return cmd, tether, nil
}
