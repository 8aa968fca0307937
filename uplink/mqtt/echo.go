package mqtt

import (
	"bytes"
	"sync"
)

// Echoes recognise messages of ours that the broker sends back to us. They do not
// pass through the session's channel, which drops messages when it is full: a
// dropped echo would look like a publication that the broker did not allow.
//
// The zero value expects nothing. Its methods may be called from any goroutine.
type Echoes struct {
	mu      sync.Mutex       // guards awaited; an echo does not change
	awaited map[string]*echo // by topic, heard for those that came; entries are replaced and never removed
}

// An echo is a message that is expected.
type echo struct {
	payload []byte
	heard   chan struct{} // closed when the payload came back
}

// heard takes the place of each echo that came: of thousands of topics nothing is kept
// but their names.
var heard = &echo{}

// Expect returns a channel that is closed when a message with the same topic and
// payload comes back. A new call for the topic replaces the one before, whose
// channel is never closed then. The payload must not be changed until it has come
// back.
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

// Hear handles a message from the broker. It reports whether Expect was ever called for the
// topic: then no other receiver needs the message, even if the payload is not the expected
// one.
func (e *Echoes) Hear(topic string, payload []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	it, ok := e.awaited[topic]
	if ok && it != heard && bytes.Equal(it.payload, payload) {
		e.awaited[topic] = heard
		close(it.heard)
	}
	return ok
}
