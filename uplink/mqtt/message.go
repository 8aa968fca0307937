package mqtt

// A Message is one publication, at QoS 1 unless it is sent AtMostOnce.
type Message struct {
	Topic      string
	Payload    []byte
	Retain     bool // of one that was heard: it is from before the subscription
	AtMostOnce bool // at QoS 0: nobody acknowledges it
}

// A Token stands for what the broker has yet to acknowledge.
type Token interface {
	// Done is closed when the broker has acknowledged it, or never will.
	Done() <-chan struct{}
	// Error is nil if the broker has acknowledged it, once Done is closed.
	Error() error
}

// A DeniedError is a subscription that the broker refused.
type DeniedError struct{ Topic string }

func (e *DeniedError) Error() string { return "the broker refuses the subscription to " + e.Topic }
