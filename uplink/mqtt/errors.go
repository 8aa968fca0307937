package mqtt

import (
	"errors"
	"fmt"
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
