//go:build !linux

package relay_test

import "errors"

func mountSmall(dir string) error { return errors.New("tmpfs is Linux's") }

func unmount(dir string) {}
