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

// ErrBrokerClosed means that the other end closed the connection properly, with FIN or with a
// close frame of WebSocket. MQTT 3.1.1 has no packet in which a broker could give a reason.
var ErrBrokerClosed = errors.New("the broker closed the connection")

// IsReset reports whether the other end reset the connection (RST), or had reset it
// when we wrote to it: something is reachable there that does not have the
// connection any more.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// A ProtocolError is a packet that a broker must not send, or one that is larger
// than [MaxInbound]. The connection is lost.
type ProtocolError struct {
	What  string // the packet, as the object of "the broker sends"
	Topic string // of a PUBLISH that is too large, if its topic was read; else empty
	Bytes int    // the length of a packet that is too large, without its header; else 0
}

func (e *ProtocolError) Error() string { return "the broker sends " + e.What }

// ProtocolErrorf returns a [ProtocolError] about a packet. The format must not
// have %w.
func ProtocolErrorf(format string, args ...any) error {
	return &ProtocolError{What: fmt.Sprintf(format, args...)}
}

// unreachable are the errors of a network that does not reach the other end, or not
// in time.
var unreachable = []error{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL,
	syscall.ENODEV, syscall.ETIMEDOUT, os.ErrDeadlineExceeded, context.DeadlineExceeded,
}

// IsUnreachable reports whether no server was reached: there is no route, address or
// carrier, its name was not found, or nothing came back in time. It is false if one
// of several servers answered, even with a refusal: then our own network works.
func IsUnreachable(err error) bool {
	if IsReset(err) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrBrokerClosed) {
		return false
	}
	var lookup *net.DNSError
	return errors.As(err, &lookup) || slices.ContainsFunc(unreachable, func(e error) bool { return errors.Is(err, e) })
}
