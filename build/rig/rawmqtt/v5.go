package rawmqtt

import (
	"bytes"

	"github.com/eclipse/paho.golang/packets"
)

// codec5 implements MQTT 5 with the packets of paho.golang.
type codec5 struct{}

func (codec5) connect(o Options) []byte {
	p := packets.NewControlPacket(packets.CONNECT)
	c := p.Content.(*packets.Connect)
	c.ClientID, c.CleanStart = o.ClientID, !o.KeepSession
	c.KeepAlive = keepAlive
	c.Username, c.UsernameFlag = o.Username, o.Username != ""
	c.Password, c.PasswordFlag = []byte(o.Password), o.Password != ""
	if o.SessionExpiry > 0 {
		c.Properties.SessionExpiryInterval = &o.SessionExpiry
	}
	if w := o.Will; w != nil {
		c.WillFlag, c.WillTopic, c.WillMessage, c.WillQOS, c.WillRetain = true, w.Topic, w.Payload, w.QoS, w.Retain
		c.WillProperties = &packets.Properties{}
		if o.WillDelay > 0 {
			c.WillProperties.WillDelayInterval = &o.WillDelay
		}
	}
	return bytes5(p)
}

func (codec5) publish(m Message, id uint16) []byte {
	p := packets.NewControlPacket(packets.PUBLISH)
	c := p.Content.(*packets.Publish)
	c.Topic, c.Payload, c.QoS, c.Retain, c.PacketID = m.Topic, m.Payload, m.QoS, m.Retain, id
	if m.Expiry > 0 {
		c.Properties.MessageExpiry = &m.Expiry
	}
	return bytes5(p)
}

func (codec5) subscribe(filter string, id uint16) []byte {
	p := packets.NewControlPacket(packets.SUBSCRIBE)
	c := p.Content.(*packets.Subscribe)
	c.PacketID, c.Subscriptions = id, []packets.SubOptions{{Topic: filter, QoS: 1}}
	return bytes5(p)
}

func bytes5(p *packets.ControlPacket) []byte {
	var b bytes.Buffer
	p.WriteTo(&b) // writing to a buffer never fails
	return b.Bytes()
}

// parse parses a complete packet with the library. A broker without version 5 answers
// CONNECT as in 3.1.1: such a CONNACK has a code and no properties.
func (codec5) parse(head byte, body []byte) (Packet, error) {
	if head>>4 == Connack && len(body) == 2 {
		return Packet{Kind: Connack, Code: body[1]}, nil
	}
	if head>>4 == Disconnect && len(body) == 0 { // reason 0: MQTT 5, section 3.14.2.1
		return Packet{Kind: Disconnect}, nil
	}
	var whole bytes.Buffer
	whole.WriteByte(head)
	writeLength(&whole, len(body))
	whole.Write(body)
	read, err := packets.ReadPacket(&whole)
	if err != nil {
		return Packet{}, err
	}
	p := Packet{Kind: head >> 4, ID: read.PacketID()}
	switch r := read.Content.(type) {
	case *packets.Connack:
		p.Code, p.Reason, p.Limits = r.ReasonCode, r.Properties.ReasonString, limitsOf(r.Properties)
	case *packets.Publish:
		p.Topic, p.Payload, p.qos = r.Topic, r.Payload, r.QoS
	case *packets.Puback:
		p.Code, p.Reason = r.ReasonCode, r.Properties.ReasonString
	case *packets.Pubrec:
		p.Code, p.Reason = r.ReasonCode, r.Properties.ReasonString
	case *packets.Suback:
		if len(r.Reasons) > 0 {
			p.Code = r.Reasons[0]
		}
	case *packets.Disconnect:
		p.Code, p.Reason = r.ReasonCode, r.Properties.ReasonString
	}
	return p, nil
}

func limitsOf(p *packets.Properties) Limits {
	return Limits{
		ReceiveMaximum: p.ReceiveMaximum, TopicAliasMaximum: p.TopicAliasMaximum, ServerKeepAlive: p.ServerKeepAlive,
		MaximumPacketSize: p.MaximumPacketSize, MaximumQoS: p.MaximumQOS, RetainAvailable: p.RetainAvailable,
		SharedAvailable: p.SharedSubAvailable,
	}
}
