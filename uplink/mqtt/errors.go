package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
)

// ErrBrokerClosed is a connection that the other end closed in order.
var ErrBrokerClosed = errors.New("the broker closed the connection")

// IsReset says that something at the other end answered that there is no such
// connection.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// A ProtocolError is a packet that a broker must not send, or one too large.
type ProtocolError struct {
	What  string
	Topic string // of a message that is too large, if that was read
	Bytes int    // of that message
}

func (e *ProtocolError) Error() string { return "the broker sends " + e.What }

func ProtocolErrorf(format string, args ...any) error {
	return &ProtocolError{What: fmt.Sprintf(format, args...)}
}

// unreachable are the errors of a network that does not reach the other end.
var unreachable = []error{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL,
	syscall.ENODEV, syscall.ETIMEDOUT, os.ErrDeadlineExceeded, context.DeadlineExceeded,
}

// IsUnreachable says that no server was reached: there is no route, address or
// carrier, its name was not found, or nothing came back in time. It is false if one
// of several servers answered, be it with a refusal.
func IsUnreachable(err error) bool {
	if IsReset(err) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrBrokerClosed) {
		return false
	}
	var lookup *net.DNSError
	return errors.As(err, &lookup) || slices.ContainsFunc(unreachable, func(e error) bool { return errors.Is(err, e) })
}
