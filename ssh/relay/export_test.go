package relay

import "time"

// WithKeepalive shortens the keepalive's interval; its patience is the double.
func WithKeepalive(o Options, d time.Duration) Options {
	o.keepalive = d
	return o
}

// ServeWithKeepalive is the same for the far side.
func ServeWithKeepalive(o ServeOptions, d time.Duration) ServeOptions {
	o.keepalive = d
	return o
}

// ServeWithLimit lowers the limit of connections.
func ServeWithLimit(o ServeOptions, connections int) ServeOptions {
	o.connections = connections
	return o
}

const (
	Version   = version
	Waiting   = waiting
	MaxStream = maxStream
)

var (
	HoldsHome = holdsHome

	ErrNoHello = errNoHello
	ErrVersion = errVersion
	ErrLost    = errLost
	ErrTooMuch = errTooMuch
)
