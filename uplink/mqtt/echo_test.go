package mqtt

import "testing"

func TestAnEchoHasTheSameTopicAndPayload(t *testing.T) {
	var e Echoes
	first := e.Expect(Message{Topic: "porch/room", Payload: []byte("1")})
	if e.Hear("porch/door", []byte("1")) || !e.Hear("porch/room", []byte("2")) {
		t.Error("only messages on the topic of an echo are taken from the session")
	}
	if closed(first) {
		t.Error("another payload on the topic counts as the echo")
	}
	second := e.Expect(Message{Topic: "porch/room", Payload: []byte("3")})
	if e.Hear("porch/room", []byte("1")); closed(first) || closed(second) {
		t.Error("the message that was replaced counts as the echo")
	}
	for range 2 { // at least once
		if !e.Hear("porch/room", []byte("3")) || !closed(second) {
			t.Error("the echo was not heard")
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
