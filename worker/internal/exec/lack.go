package exec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"muster/task"
)

// faultOfTask is the kind of what no machine could begin.
const faultOfTask task.LackKind = 0

// What a shell exits with when it cannot run a command (POSIX, "Exit Status
// for Commands").
const (
	codeCannotExecute = 126
	codeNotFound      = 127
)

// scratchError marks a failure to write into the scratch folder.
type scratchError struct{ error }

// Unwrap returns what failed.
func (e scratchError) Unwrap() error { return e.error }

// notStarted says why a command was not started, and whose fault that was.
func notStarted(kind task.LackKind, code int, message, evidence string) *task.Lack {
	return &task.Lack{Kind: kind, Code: code, Message: message, Evidence: evidence}
}

// ofScratch is the lack of a scratch folder, or of what any work with files needs.
func ofScratch(tried string, err error) *task.Lack {
	kind := task.LackScratch
	if exhausted(err) {
		kind = task.LackProcess
	}
	return notStarted(kind, codeCannotExecute, tried+": "+err.Error(), "")
}

// exhausted reports whether the machine, or what it lets its user have, is at its
// limit: of processes, memory or descriptors.
func exhausted(err error) bool {
	for _, e := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// interpreterOf says what a file that cannot be executed names as its interpreter.
func interpreterOf(path string) string {
	const elsewhere = "see its first line, #!, or its ELF interpreter"
	f, err := os.Open(path)
	if err != nil {
		return elsewhere
	}
	defer f.Close()
	head := make([]byte, 256) // as much as the kernel reads (BINPRM_BUF_SIZE)
	n, _ := io.ReadFull(f, head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	line, isScript := strings.CutPrefix(line, "#!")
	switch {
	case !isScript:
		return elsewhere
	case strings.HasSuffix(line, "\r"):
		return "its lines end as those of Windows do, CR LF: dos2unix mends it"
	}
	return "its first line names " + strings.TrimSpace(line)
}

// lackOfDirectory says why a directory cannot be entered, nil if it can.
func lackOfDirectory(dir string) *task.Lack {
	st, err := os.Stat(dir)
	why := ""
	switch {
	case err != nil:
		why = reason(err)
	case !st.IsDir():
		why = dir + ": not a directory"
	default:
		err := unix.Faccessat(unix.AT_FDCWD, dir, unix.X_OK, unix.AT_EACCESS)
		if err == nil {
			return nil
		}
		why = dir + ": " + err.Error()
	}
	kind := task.LackDirectory
	if exhausted(err) {
		kind = task.LackProcess
	}
	return notStarted(kind, codeCannotExecute, "cannot enter the working directory "+why, "")
}

// explainSpawn says which of fork, chdir and exec failed, which the errno alone
// does not tell.
func explainSpawn(err error, file string, s *task.Spec) *task.Lack {
	shown := file
	if !filepath.IsAbs(file) {
		shown = filepath.Join(s.Dir, file)
	}
	if errors.As(err, new(scratchError)) {
		return ofScratch("keep its standard input in its scratch folder", err)
	}
	if exhausted(err) {
		return notStarted(task.LackProcess, codeCannotExecute, fmt.Sprintf("cannot execute %s: %v", shown, err), "")
	}
	if l := lackOfDirectory(s.Dir); l != nil {
		return l
	}
	_, ferr := os.Stat(shown)
	switch {
	case errors.Is(err, syscall.ENOENT) && errors.Is(ferr, fs.ErrNotExist):
		return notStarted(task.LackProgram, codeNotFound, fmt.Sprintf("program %q not found", s.Argv[0]), "looked for "+shown)
	case errors.Is(err, syscall.ENOENT):
		return notStarted(task.LackProgram, codeCannotExecute, fmt.Sprintf("cannot execute %s: its interpreter is missing", shown), interpreterOf(shown))
	case errors.Is(err, syscall.E2BIG):
		n := 0
		for _, w := range s.Argv {
			n += len(w) + 1
		}
		return notStarted(faultOfTask, codeCannotExecute, fmt.Sprintf("cannot execute %s: its arguments are too long for the kernel", shown), fmt.Sprintf("%d bytes in %d words", n, len(s.Argv)))
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG):
		return notStarted(faultOfTask, codeCannotExecute, fmt.Sprintf("cannot execute %s: %v", shown, err), "")
	}
	return notStarted(task.LackProgram, codeCannotExecute, fmt.Sprintf("cannot execute %s: %v", shown, err), "")
}

// reason is a path error without the name of the system call.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
