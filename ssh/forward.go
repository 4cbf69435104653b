package ssh

import (
	"context"
	"fmt"
)

// CanForward asks the server to listen on a port of its loopback and to forward
// that to here, and takes it back. An error of kind ErrForward says that it does
// not: AllowTcpForwarding, PermitListen, DisableForwarding or a restricted key
// (sshd_config(5)).
func (c *Client) CanForward(ctx context.Context) error {
	asked := make(chan error, 1)
	if !c.spawn(func() { asked <- c.forward(ctx) }) {
		return c.unusable()
	}
	select {
	case err := <-asked:
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("forward a port of %s: %w", c.target.Host, context.Cause(ctx))
		case c.Err() != nil:
			return fmt.Errorf("forward a port of %s: %w", c.target.Host, c.Err())
		}
		return failf(ErrForward, c.target.Host, "forward a port of %s: %w", c.target.Host, err)
	case <-ctx.Done():
		return fmt.Errorf("forward a port of %s: %w", c.target.Host, context.Cause(ctx))
	}
}

// listen tries it over the connection itself.
func (c *Client) listen(context.Context) error {
	l, err := c.conn.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return l.Close()
}

// listenBy has ssh try it: a control socket in proxy mode knows no way to take
// a forward back (channels.c, channel_proxy_downstream). Nothing listens on the
// port of ours that is named, and nobody is told of the other one.
func (s *openSSH) listenBy(ctx context.Context, socket string) error {
	forward := "127.0.0.1:0:127.0.0.1:9" // discard
	if err := s.query(ctx, "-S", socket, "-O", "forward", "-R", forward); err != nil {
		return err
	}
	return s.query(ctx, "-S", socket, "-O", "cancel", "-R", forward)
}
