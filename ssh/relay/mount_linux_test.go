package relay_test

import "syscall"

func mountSmall(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700")
}

func unmount(dir string) { syscall.Unmount(dir, syscall.MNT_DETACH) }
