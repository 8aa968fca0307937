package rawmqtt

import (
	"bytes"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// codec3 implements MQTT 3.1.1 with the packets of paho.mqtt.golang.
type codec3 struct{}

func (codec3) connect(o Options) []byte {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion = "MQTT", byte(V3)
	p.ClientIdentifier, p.CleanSession = o.ClientID, !o.KeepSession
	p.Keepalive = keepAlive
	p.Username, p.UsernameFlag = o.Username, o.Username != ""
	p.Password, p.PasswordFlag = []byte(o.Password), o.Password != ""
	if w := o.Will; w != nil {
		p.WillFlag, p.WillTopic, p.WillMessage, p.WillQos, p.WillRetain = true, w.Topic, w.Payload, w.QoS, w.Retain
	}
	return bytes3(p)
}

func (codec3) publish(m Message, id uint16) []byte {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.Retain, p.MessageID = m.Topic, m.Payload, m.QoS, m.Retain, id
	return bytes3(p)
}

func (codec3) subscribe(filter string, id uint16) []byte {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = id, []string{filter}, []byte{1}
	return bytes3(p)
}

func bytes3(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	p.Write(&b) // writing to a buffer never fails
	return b.Bytes()
}

// parse parses a complete packet with the library.
func (codec3) parse(head byte, body []byte) (Packet, error) {
	var whole bytes.Buffer
	whole.WriteByte(head)
	writeLength(&whole, len(body))
	whole.Write(body)
	read, err := packets.ReadPacket(&whole)
	if err != nil {
		return Packet{}, err
	}
	p := Packet{Kind: head >> 4, ID: read.Details().MessageID}
	switch r := read.(type) {
	case *packets.ConnackPacket:
		p.Code = r.ReturnCode
	case *packets.PublishPacket:
		p.Topic, p.Payload, p.qos = r.TopicName, r.Payload, r.Qos
	case *packets.SubackPacket:
		if len(r.ReturnCodes) > 0 {
			p.Code = r.ReturnCodes[0]
		}
	}
	return p, nil
}

// writeLength writes a length with seven bits per byte: MQTT 3.1.1, section 2.2.3.
func writeLength(b *bytes.Buffer, n int) {
	for ; n > 0x7f; n >>= 7 {
		b.WriteByte(byte(n) | 0x80)
	}
	b.WriteByte(byte(n))
}
