// Package disposition catches the signals that end a process, and leaves alone those that
// were ignored when the process started: nohup(1) has SIGHUP ignored, and a shell has
// SIGINT and SIGQUIT ignored in the background jobs of a script. What is ignored stays
// ignored in the children too.
package disposition

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Inherit has SIGQUIT ignored where SIGINT is. Go's runtime keeps SIGHUP and SIGINT
// ignored if they were so when the program started, and forgets that of all others; a
// shell ignores these two together. Each of muster's processes calls it first.
func Inherit() {
	if signal.Ignored(syscall.SIGINT) {
		signal.Ignore(syscall.SIGQUIT)
	}
}

// Notify is signal.Notify for those of sigs that are not ignored.
func Notify(c chan<- os.Signal, sigs ...os.Signal) {
	if heeded := heeded(sigs); len(heeded) > 0 { // none would mean all
		signal.Notify(c, heeded...)
	}
}

// NotifyContext is signal.NotifyContext for those of sigs that are not ignored.
func NotifyContext(parent context.Context, sigs ...os.Signal) (context.Context, context.CancelFunc) {
	if heeded := heeded(sigs); len(heeded) > 0 {
		return signal.NotifyContext(parent, heeded...)
	}
	return context.WithCancel(parent)
}

func heeded(sigs []os.Signal) []os.Signal {
	return slices.DeleteFunc(slices.Clone(sigs), signal.Ignored)
}
