package mqtt

import "fmt"

// A RefusedError is a CONNACK with a return code other than 0: MQTT 3.1.1, section
// 3.2.2.3, and MQTT 5, section 3.2.2.2. The texts are the broker's own, and empty with
// 3.1.1.
type RefusedError struct {
	Code      byte
	Reason    string // the Reason String
	Reference string // the Server Reference: another server to use
}

// refusals say what to do about a code. Codes from 0x80 are the reason codes of MQTT
// 5, section 3.2.2.2, which some brokers also send to clients of MQTT 3.1.1.
var refusals = map[byte]string{
	1:    "it does not speak this version of MQTT: see mqtt.version",
	2:    "it does not take this client ID: set client_id",
	3:    "it says it is not available",
	4:    "wrong user name or password: see mqtt.username and mqtt.password_file",
	5:    "not authorised: see mqtt.username and mqtt.password_file, and the broker's access list",
	0x80: "it does not say why: its log may",
	0x82: "it reports a protocol error: its log may say which",
	0x83: "it does not say why: its log may",
	0x84: "it does not speak this version of MQTT: see mqtt.version",
	0x85: "it does not take this client ID: set client_id",
	0x86: "wrong user name or password: see mqtt.username and mqtt.password_file",
	0x87: "not authorised: see mqtt.username and mqtt.password_file, and the broker's access list",
	0x88: "it says it is not available",
	0x89: "it says it is busy",
	0x8a: "this client is banned: see the broker's list",
	0x8c: "it wants another way of authentication than user name and password",
	0x90: "it does not take the topic of our will: see its access list",
	0x97: "it says that a quota is used up",
	0x9a: "it keeps no retained messages, and the will is one: set mqtt.retain: false (docs/brokers.md says what is lost)",
	0x9b: "it does not take QoS 1, and the will has it: holdfast needs a broker with QoS 1",
	0x9c: "it says to use another server: see mqtt.server",
	0x9d: "it says that it has moved: see mqtt.server",
	0x9f: "it says that too many connect at once",
}

func (e *RefusedError) Error() string {
	what, ok := refusals[e.Code]
	if !ok {
		what = "a code that MQTT does not know: the broker's log may say why"
	}
	return fmt.Sprintf("the broker refuses the connection (code %d): %s", e.Code, what) +
		ownWords(e.Reason, e.Reference)
}

// Busy reports whether the broker may accept a later attempt without a change of the
// configuration: it is not available, busy, or has a quota or rate that is used up.
func (e *RefusedError) Busy() bool {
	switch e.Code {
	case 3, 0x88, 0x89, 0x97, 0x9f:
		return true
	}
	return false
}
