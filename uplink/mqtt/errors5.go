package mqtt

import "fmt"

// Reason codes of MQTT 5, section 2.4. Those from codeFailure on are failures.
const (
	codeUnheard   = 0x10 // no matching subscribers
	codeFailure   = 0x80
	codeDenied    = 0x87
	codeTakenOver = 0x8e
	codeTopic     = 0x90
	codeTooLarge  = 0x95
	codeQuota     = 0x97
	codeFormat    = 0x99
)

// A PublishError says that a message was not delivered, although the connection goes on:
// the broker refuses it in PUBACK (MQTT 5, section 3.4.2.1), or it is larger than the
// broker takes and was not sent.
type PublishError struct {
	Code   byte   // a reason code
	Reason string // the broker's own words, and ours if it was not sent; empty: none
	Unsent bool   // it is larger than the broker takes, and was not sent
}

// publishCodes say what a code of PUBACK means.
var publishCodes = map[byte]string{
	codeFailure: "it does not say why: its log may", 0x83: "it does not say why: its log may",
	codeDenied: "not authorised: see its access list", codeTopic: "it does not take the topic",
	0x91: "the packet ID is in use", codeTooLarge: "the message is too large", codeQuota: "a quota is used up",
	codeFormat: "it does not take the format of the payload",
}

func (e *PublishError) Error() string {
	what, ok := publishCodes[e.Code]
	if !ok {
		what = "the code is none of MQTT 5: its log may say why"
	}
	if e.Unsent {
		return what + ": " + e.Reason
	}
	return fmt.Sprintf("the broker refuses it (code %d): %s", e.Code, what) + ownWords(e.Reason, "")
}

// AboutTopic reports whether the broker refuses the topic, as an access list does: another
// topic may be taken. ejabberd says "topic name invalid" for what it denies.
func (e *PublishError) AboutTopic() bool { return e.Code == codeDenied || e.Code == codeTopic }

// AboutMessage reports whether the broker refuses this one message, whenever it is sent:
// its payload or its size. Else it refuses the topic, or us, for now.
func (e *PublishError) AboutMessage() bool { return e.Code == codeTooLarge || e.Code == codeFormat }

// AboutQuota reports whether the broker refuses the message because we have sent too much: it
// may take the same message later.
func (e *PublishError) AboutQuota() bool { return e.Code == codeQuota }

// Unheard reports whether the broker has acknowledged a message with the reason that its topic
// has no subscriber: MQTT 5, section 3.4.2.1. Not all brokers report that.
func Unheard(t Token) bool {
	u, ok := t.(interface{ Unheard() bool })
	return ok && t.Answered() && u.Unheard()
}

// A DisconnectError is a DISCONNECT of the broker: MQTT 5, section 3.14. It is an
// [ErrBrokerClosed] if what we have sent may be the reason.
type DisconnectError struct {
	Code      byte   // a reason code
	Reason    string // the broker's own words; empty: none
	Reference string // another server to use; empty: none
}

// disconnects say what a code of DISCONNECT means, and what to do about it.
var disconnects = map[byte]string{
	0x00: "without a reason", codeFailure: "it does not say why: its log may",
	0x81: "it could not read a packet of ours: its log may say which",
	0x82: "it reports a protocol error: its log may say which", 0x83: "it does not say why: its log may",
	codeDenied: "not authorised: see its access list", 0x89: "it is busy", 0x8b: "it shuts down",
	0x8d:          "it has heard nothing from us in time",
	codeTakenOver: "another client has connected with our client ID: give each a client_id of its own",
	0x8f:          "it does not take the topic of a subscription", codeTopic: "it does not take the topic of a message",
	0x93: "we sent more messages at once than it takes", 0x94: "it does not know a topic alias of ours",
	codeTooLarge: "a packet of ours is larger than it takes", 0x96: "we send too many messages: see drain.rate",
	codeQuota: "a quota is used up", 0x98: "an administrator has ended it",
	codeFormat: "it does not take the format of a payload", 0x9a: "it keeps no retained messages: see mqtt.retain",
	0x9b: "it does not take QoS 1", 0x9c: "it says to use another server", 0x9d: "it says that it has moved",
	0x9f: "too many clients connect at once", 0xa0: "a connection may not last longer",
	0xa2: "it does not take wildcards in subscriptions",
}

// ownFault are the codes for which a packet of ours may be the reason.
var ownFault = map[byte]bool{codeFailure: true, 0x81: true, 0x82: true, 0x83: true, codeDenied: true, 0x8f: true,
	codeTopic: true, 0x93: true, 0x94: true, codeTooLarge: true, codeFormat: true, 0x9a: true, 0x9b: true}

func (e *DisconnectError) Error() string {
	what, ok := disconnects[e.Code]
	if !ok {
		what = "the code is none of MQTT 5: its log may say why"
	}
	return fmt.Sprintf("the broker ended the connection (code %d): %s", e.Code, what) + ownWords(e.Reason, e.Reference)
}

// Unwrap returns ErrBrokerClosed if a packet of ours may be the reason.
func (e *DisconnectError) Unwrap() error {
	if ownFault[e.Code] {
		return ErrBrokerClosed
	}
	return nil
}

// TakenOver reports whether another client has connected with our client ID.
func (e *DisconnectError) TakenOver() bool { return e.Code == codeTakenOver }

// Busy reports whether the broker may accept a connection later, without a change of the
// configuration: see [RefusedError.Busy].
func (e *DisconnectError) Busy() bool {
	refused := RefusedError{Code: e.Code}
	return refused.Busy() || e.Code == 0x96
}

// maxWords bounds what is shown of the texts that a broker sends.
const maxWords = 200

// ownWords returns the broker's reason and the server that it names, to be appended to an
// explanation of ours.
func ownWords(reason, reference string) (text string) {
	if reason != "" {
		text = fmt.Sprintf("; it says %.*q", maxWords, reason)
	}
	if reference != "" {
		text += fmt.Sprintf("; the other server is %.*q", maxWords, reference)
	}
	return text
}
