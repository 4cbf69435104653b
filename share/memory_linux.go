package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// seals are what nobody can take off a segment any more: its bytes and its size stay.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// create begins a segment: in memory, or in a file where the kernel, or a filter of
// system calls, does not have memfd_create.
func create(name string) (*os.File, string, error) {
	f, err := memfd(name)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) {
		return createFile(name)
	}
	return f, "", err
}

// InMemory reports whether segments are in memory here, and not in files.
func InMemory() bool {
	f, err := memfd(prefix)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func memfd(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// reserveStep is how many bytes are reserved by one call: what a signal interrupts is
// undone and done again.
const reserveStep = 16 << 20

// reserve has a file take the room of its bytes from one offset to another.
func reserve(f *os.File, from, to int64) error {
	for from < to {
		n := min(to-from, reserveStep)
		err := unix.Fallocate(int(f.Fd()), 0, from, n)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EOPNOTSUPP: // a file system without it
			return nil
		case err != nil:
			return os.NewSyscallError("fallocate", err)
		}
		from += n
	}
	return nil
}

// seal makes a segment one that nobody can change, and that only its user can open.
func seal(f *os.File, file string) error {
	if err := f.Chmod(0o400); err != nil || file != "" {
		return err
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl", err)
}

// openMemory opens a segment in the owner's memory. What the owner's descriptor is may
// be anything by now, a pipe too, so that it is looked at before it is opened.
func openMemory(r Ref) (*os.File, error) {
	want := "/memfd:" + prefix + r.ID + " (deleted)"
	if what, err := os.Readlink(r.Path()); err != nil {
		return nil, bare(err)
	} else if what != want {
		return nil, fs.ErrNotExist
	}
	f, err := os.OpenFile(r.Path(), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, bare(err)
	}
	if err := isSealed(f, r, want); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isSealed checks that what was opened is the segment, sealed and whole.
func isSealed(f *os.File, r Ref, want string) error {
	what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	switch {
	case err != nil:
		return bare(err)
	case what != want:
		return fs.ErrNotExist
	}
	if err := isSegment(f, r); err != nil {
		return err
	}
	if has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || has&seals != seals {
		return errors.New("it is not sealed")
	}
	return nil
}

// thisMachine tells this machine, since its boot, and this container apart from others:
// process numbers mean the same where it is the same.
var thisMachine = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return hostName()
	}
	space, _ := os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(boot)) + " " + space
})
