package mqtt

import (
	"bytes"
	"sync"
)

// Echoes match messages of ours that the broker sends back to us. They never
// pass through the session's channel, which drops messages when it is full: an
// echo that is dropped would look like one that the broker denied.
type Echoes struct {
	mu      sync.Mutex
	awaited map[string]*echo // by topic; what else comes on such a topic is dropped
}

type echo struct {
	payload []byte
	heard   chan struct{} // closed when the payload came back
	done    bool
}

// Expect returns a channel that is closed when the message comes back. A new
// message on the same topic replaces the one before.
func (e *Echoes) Expect(m Message) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.awaited == nil {
		e.awaited = map[string]*echo{}
	}
	next := &echo{payload: m.Payload, heard: make(chan struct{})}
	e.awaited[m.Topic] = next
	return next.heard
}

// Hear takes a message. It reports false if it is not on the topic of an echo.
func (e *Echoes) Hear(topic string, payload []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	it, ok := e.awaited[topic]
	if ok && !it.done && bytes.Equal(it.payload, payload) {
		it.done = true
		it.payload = nil // the payload of a message is kept no longer than it must be
		close(it.heard)
	}
	return ok
}
