package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/host"
)

// serveOptions are what a dispatcher's process is told.
type serveOptions struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"`
	Keep   int64             `json:"keep"`
	Tether bool              `json:"tether"` // end when standard input closes
	Up     control.UpRequest `json:"up"`
	Log    string            `json:"log,omitempty"` // the file that its standard error is
}

// serve is a dispatcher until it is told to end. ready is called when it
// answers; bar shows copies, or is nil.
func (s streams) serve(c *cli.Context, o serveOptions, bar *progress, ready func(*control.UpAnswer) error) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	opt, err := hostOptions(s, log, bar)
	if err != nil {
		return err
	}
	opt.Keep = o.Keep
	opt.Say = s.err.Say
	path := control.Socket(opt.SocketDir, o.Name)
	unlock, err := lock(opt.SocketDir, o.Name)
	if err != nil {
		return err
	}
	defer unlock()
	signals := make(chan os.Signal, 4)
	disposition.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := host.RemoveStale(path); err != nil {
		return err
	}
	h, err := host.Open(opt)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	ended := make(chan error, 1)
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), recallPatience)
		defer cancel()
		ended <- h.Close(ctx, endPatience)
	}
	l, err := host.ListenUnix(path)
	if err != nil {
		end()
		return errors.Join(fmt.Errorf("let commands reach the dispatcher: %w", err), <-ended)
	}
	server := control.NewWaiting(l, control.Options{Host: h, Name: o.Name, Kind: o.Kind, Version: Version, Log: o.Log, Shutdown: shutdown(over, ended)})
	defer func() {
		// A connection that has asked nothing yet is waited for, for 5 s.
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		server.Close(ctx)
	}()
	a, err := upUnlessTold(c.Context, server, o.Up, signals)
	if err == nil {
		server.Serve() // who comes meanwhile finds what was asked for
		if err = ready(a); errors.Is(err, exitError(exitInterrupted)) {
			<-signals // the one that has interrupted it
		}
	}
	if err == nil {
		if o.Kind == "ephemeral" {
			t := time.AfterFunc(ephemeralLife, func() {
				if server.Status().Kind == o.Kind { // nobody has brought a profile up meanwhile
					server.Shutdown(context.Background())
				}
			})
			defer t.Stop()
		}
		stopTelling := tellWaits(context.Background(), opt.Say, upkeep(server))
		s.untilOver(server, signals, over, o.Tether)
		stopTelling()
	}
	l.Close() // who comes now finds nobody; those who are here get their answers
	go end()
	select {
	case closed := <-ended:
		ended <- closed // for whoever asked for it
		return errors.Join(answered(err), closed)
	case <-signals:
		left := h.Leave()
		s.sayLeft(h.Fleet())
		os.Remove(path)
		return errors.Join(exitError(exitInterrupted), left)
	}
}

// upUnlessTold brings profiles up, and gives that up at a signal.
func upUnlessTold(ctx context.Context, server *control.Server, q control.UpRequest, signals <-chan os.Signal) (*control.UpAnswer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-signals:
			cancel(exitError(exitInterrupted))
		case <-over:
		}
	}()
	a, err := server.Up(ctx, q)
	close(over)
	<-watched
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return a, err
}

// shutdown returns what tells a dispatcher to end, and waits for it.
func shutdown(over chan struct{}, ended chan error) func(context.Context) error {
	once := make(chan struct{}, 1)
	return func(ctx context.Context) error {
		select {
		case once <- struct{}{}:
			close(over)
		default:
		}
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// untilOver waits until the dispatcher is to end.
func (s streams) untilOver(server *control.Server, signals <-chan os.Signal, over <-chan struct{}, tether bool) {
	closed := make(chan struct{})
	if tether {
		go func() {
			defer close(closed)
			var b [64]byte
			for {
				if _, err := s.in.Read(b[:]); err != nil {
					return
				}
			}
		}()
	}
	select {
	case <-over:
	case <-closed:
	case <-signals:
		s.sayLoss(ofDispatcher(server.Status()))
		s.err.Say("ending; Ctrl-C again leaves at once")
	}
}

// newServe is the process of a dispatcher in the background.
func newServe(s streams) *cli.Command {
	return &cli.Command{Name: "serve", Hidden: true, Usage: "be a dispatcher in the background", Flags: logFlags("", ""),
		Action: func(c *cli.Context) error { return serveDetached(c, s) }}
}

// readyMessage is what a dispatcher in the background says to who started it.
type readyMessage struct {
	Answer *control.UpAnswer `json:"answer,omitempty"`
	Error  string            `json:"error,omitempty"`
	Hint   string            `json:"hint,omitempty"`
	Exit   int               `json:"exit,omitempty"`
	// Another says that another dispatcher of its name is up, which was first.
	Another bool `json:"another,omitempty"`
}

// readyFd is where it says that.
const readyFd = 3

func serveDetached(c *cli.Context, s streams) error {
	ready := os.NewFile(readyFd, "ready")
	if ready == nil {
		return usagef("serve is started by muster, not by hand")
	}
	dec := json.NewDecoder(s.in)
	var o serveOptions
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	told := false
	tell := func(m readyMessage) {
		if !told {
			told = true
			json.NewEncoder(ready).Encode(m)
			ready.Close()
		}
	}
	bar, s := newCopyProgress(s)
	defer bar.end()
	err := s.serve(c, o, bar, func(a *control.UpAnswer) error {
		tell(readyMessage{Answer: a})
		return nil
	})
	if err != nil {
		m := readyMessage{Error: err.Error(), Exit: exitFailure, Another: errors.Is(err, errAnother)}
		var usage usageError
		var hint hinted
		if errors.As(err, &hint) {
			m.Hint = hint.hint
		}
		if errors.As(err, &usage) {
			m.Exit = exitUsage
		}
		tell(m)
	}
	return err
}
