package testbed

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// tun makes a TUN device in the node, up, with an address and that of the other
// end. Packets have the header of virtio-net, which lets the kernel hand them
// over 64 KiB at a time (Documentation/networking/tuntap.rst; linux/if_tun.h).
func (d *node) tun(dev, addr, peer string) (io.ReadWriteCloser, error) {
	var f *os.File
	err := inNetOf(d.pid(), func() (err error) {
		f, err = openTUN(dev)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a TUN device on node %s: %w", d.name, err)
	}
	err = d.ip(fmt.Sprintf("addr add %s peer %s dev %s", addr, peer, dev), "link set "+dev+" txqueuelen 5000 up")
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openTUN makes the device in the network of the calling thread.
func openTUN(dev string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(dev)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up TUN device %s: %w", dev, err)
	}
	// Only now, for the runtime to wait for it: before, it is no device.
	return os.NewFile(uintptr(fd), dev), nil
}

// inNetOf calls f on a thread in the network of process pid, which ends after.
func inNetOf(pid int, f func() error) error {
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	result := make(chan error, 1)
	go onSpareThread(func() {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter %s: %w", path, err)
			return
		}
		result <- f()
	})
	return <-result
}

// onSpareThread calls f on a thread that does nothing else ever: the runtime ends
// it with the goroutine, which keeps it locked. The process's first thread would
// not end, and all of /proc/PID tells of that one.
func onSpareThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	over := make(chan struct{})
	go func() { // on another thread, since this one is locked
		defer close(over)
		runtime.LockOSThread()
		f()
	}()
	<-over
	runtime.UnlockOSThread()
}
