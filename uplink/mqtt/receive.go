package mqtt

import "sync"

// maxHeard is how many messages wait for the session; more are dropped.
const maxHeard = 16

// A receiver passes on what the broker sends: echoes of our own messages, messages for
// a handler, and all others to the session. The goroutine that reads calls it.
type receiver struct {
	heard  chan Message // for the session; holds maxHeard
	echoes Echoes

	mu       sync.RWMutex
	handlers map[string]func(Message) // by topic; guarded by mu
}

func newReceiver() *receiver {
	return &receiver{heard: make(chan Message, maxHeard), handlers: map[string]func(Message){}}
}

// handle has a function called with the messages on a topic.
func (r *receiver) handle(topic string, f func(Message)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers[topic] = f
}

// hear passes a message on. It drops one for the session if maxHeard wait: blocking here
// would block the library's reader, and with it the acknowledgements.
func (r *receiver) hear(got Message) {
	if r.echoes.Hear(got.Topic, got.Payload) {
		return
	}
	r.mu.RLock()
	handler := r.handlers[got.Topic]
	r.mu.RUnlock()
	if handler != nil {
		handler(got)
		return
	}
	select {
	case r.heard <- got:
	default:
	}
}
