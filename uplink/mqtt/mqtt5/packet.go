// Package mqtt5 encodes the packets of MQTT 5 that we send, and checks and decodes those
// that a broker sends. Only package mqtt uses it. Packets are encoded by package packets of
// eclipse/paho.golang, except PUBLISH: a drain sends thousands of them per second, and the
// library needs several allocations for each.
//
// # Concurrency
//
// The functions have no state, and may be called from any goroutine.
package mqtt5

import (
	"bytes"
	"encoding/binary"

	"github.com/eclipse/paho.golang/packets"
)

// The packets that a broker sends, as the library decodes them.
type (
	Connack    = packets.Connack
	Publish    = packets.Publish
	Puback     = packets.Puback
	Suback     = packets.Suback
	Unsuback   = packets.Unsuback
	Disconnect = packets.Disconnect

	ConnackProperties = packets.Properties
)

// Decode returns the content of a packet that [Check] has accepted, with its fixed
// header: one of the types above, or another of the library's.
func Decode(packet []byte) (any, error) {
	_, n := binary.Uvarint(packet[1:]) // a length of 0 may have more than one byte
	if packet[0] == disconnect<<4 && len(packet) == 1+n {
		return &Disconnect{Properties: &packets.Properties{}}, nil // v0.23.0 has EOF for it: section 3.14.2.1 allows it
	}
	p, err := packets.ReadPacket(bytes.NewReader(packet))
	if err != nil {
		return nil, err
	}
	return p.Content, nil
}

// encode returns a packet with its fixed header. Writing to a buffer cannot fail.
func encode(p packets.Packet) []byte {
	var b bytes.Buffer
	p.WriteTo(&b)
	return b.Bytes()
}

// A Connect is the content of a CONNECT packet: MQTT 5, section 3.1. Times are in seconds.
type Connect struct {
	ClientID, Username, Password string

	KeepAlive      uint16
	CleanStart     bool   // the broker forgets an earlier session
	SessionExpiry  uint32 // how long the broker keeps the session after the connection is lost
	ReceiveMaximum uint16 // messages at QoS 1 that the broker may send before we acknowledge one
	MaxPacket      uint32 // bytes of a packet that we take

	Will Will
}

// A Will is published by the broker when the connection is lost. An empty topic means that
// there is no will.
type Will struct {
	Topic   string
	Payload []byte
	Retain  bool
	Delay   uint32 // seconds from the loss; a new connection of the session prevents it
}

// Encode returns the packet. The will has QoS 1.
func (c Connect) Encode() []byte {
	p := packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: c.ClientID, KeepAlive: c.KeepAlive,
		CleanStart: c.CleanStart, Username: c.Username, UsernameFlag: c.Username != "",
		Password: []byte(c.Password), PasswordFlag: c.Password != "",
		Properties: &packets.Properties{ReceiveMaximum: &c.ReceiveMaximum, MaximumPacketSize: &c.MaxPacket}}
	if c.SessionExpiry > 0 {
		p.Properties.SessionExpiryInterval = &c.SessionExpiry
	}
	if c.Will.Topic != "" {
		p.WillFlag, p.WillQOS, p.WillRetain = true, 1, c.Will.Retain
		p.WillTopic, p.WillMessage, p.WillProperties = c.Will.Topic, c.Will.Payload, &packets.Properties{}
		if c.Will.Delay > 0 {
			p.WillProperties.WillDelayInterval = &c.Will.Delay
		}
	}
	return encode(&p)
}

// EncodeSubscribe returns a SUBSCRIBE to one topic at QoS 1. With live, the broker sends no
// retained and none of our own messages, and keeps the retain flag of others: Retain Handling
// 2, No Local and Retain As Published, section 3.8.3.1.
func EncodeSubscribe(id uint16, topic string, live bool) []byte {
	o := packets.SubOptions{Topic: topic, QoS: 1}
	if live {
		o.RetainHandling, o.NoLocal, o.RetainAsPublished = packets.RetainDoNotSend, true, true
	}
	return encode(&packets.Subscribe{PacketID: id, Properties: &packets.Properties{},
		Subscriptions: []packets.SubOptions{o}})
}

// EncodeUnsubscribe returns an UNSUBSCRIBE of one topic.
func EncodeUnsubscribe(id uint16, topic string) []byte {
	return encode(&packets.Unsubscribe{PacketID: id, Properties: &packets.Properties{}, Topics: []string{topic}})
}

// EncodeDisconnect returns a DISCONNECT that ends the session, too. With will, the broker
// publishes the will, and nothing delays that: the session has ended (section 3.1.3.2.2).
func EncodeDisconnect(will bool) []byte {
	p := packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: new(uint32)}}
	if will {
		p.ReasonCode = packets.DisconnectDisconnectWithWillMessage
	}
	return encode(&p)
}
