//go:build !linux

package testbed

import (
	"errors"
	"io"
)

var errNoNamespaces = errors.New("only Linux has network namespaces")

func (d *node) tun(dev, addr, peer string) (io.ReadWriteCloser, error) { return nil, errNoNamespaces }

func inNetOf(pid int, f func() error) error { return errNoNamespaces }
