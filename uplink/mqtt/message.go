package mqtt

import "github.com/holdfast-iot/holdfast/uplink/mqtt/mqtt5"

// A Message is an application message, which is published or was received.
type Message struct {
	Topic      string // without wildcards; at most 65,535 bytes
	Payload    []byte
	Retain     bool // the broker keeps it; of a received one: it was published before we subscribed
	AtMostOnce bool // publish at QoS 0, which is not acknowledged, instead of QoS 1; not set when received
	Repeated   bool // of a received one: the DUP flag, the broker has sent it before; ignored when published
	Foreign    bool // another client has named the topic of what is published: it gets no topic alias

	Properties *Properties // only with MQTT 5; nil: none. A received message has only those of a request
}

// Properties are the MQTT 5 properties of a message.
type Properties = mqtt5.Properties

// A UserProperty is a name with a value, see [Properties].
type UserProperty = mqtt5.User

// A Token stands for a packet that the broker has to acknowledge. Its methods may be
// called from any goroutine.
type Token interface {
	// Done is closed when the broker has acknowledged it, or never will.
	Done() <-chan struct{}
	// Answered reports whether Done is closed. It is the cheaper way to ask.
	Answered() bool
	// Error is nil if the broker has acknowledged it, once Done is closed.
	Error() error
}

// A DeniedError says that the broker refused a subscription: SUBACK has the return
// code 0x80, MQTT 3.1.1, section 3.9.3, or one above it with MQTT 5. The connection
// goes on.
type DeniedError struct {
	Topic  string
	Reason string // the broker's own words, with MQTT 5; empty: none
}

func (e *DeniedError) Error() string {
	return "the broker refuses the subscription to " + e.Topic + ownWords(e.Reason, "")
}
