package mqtt

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt/mqtt5"
)

// A client5 speaks MQTT 5. It has a read loop of its own on the wire, and uses the packet
// types of eclipse/paho.golang. It does not use that module's client, which has no write
// deadlines, blocks a goroutine for each PUBACK, and adds 192 KiB to the binary.
type client5 struct {
	conn    *Conn
	packet  mqtt5.Connect
	connack chan error // the answer to CONNECT; holds it
	reading sync.WaitGroup
}

func newClient5(c *Conn, broker Broker, password string, will Message) *client5 {
	c.wire.five = &wire5{requests: map[uint16]request5{}, topics: map[string]uint16{}}
	return &client5{conn: c, connack: make(chan error, 1), packet: mqtt5.Connect{
		ClientID: broker.ClientID, Username: broker.user(password), Password: password,
		KeepAlive: uint16(broker.KeepAlive / time.Second), CleanStart: !broker.resume,
		SessionExpiry:  uint32(broker.WillDelay / time.Second),
		ReceiveMaximum: maxUnacked, MaxPacket: MaxInbound,
		Will: mqtt5.Will{Topic: will.Topic, Payload: will.Payload, Retain: will.Retain,
			Delay: uint32(broker.WillDelay / time.Second)}}}
}

// connect is as protocol has it.
func (c *client5) connect(ctx context.Context) error {
	w := c.conn.wire
	w.Conn.SetReadDeadline(time.Now().Add(w.limits.Connect)) // for all of CONNACK
	if _, err := w.queuePacket(c.packet.Encode()); err != nil {
		return err
	}
	c.reading.Go(c.read)
	select {
	case err := <-c.connack:
		return err
	case <-c.conn.lost:
		select {
		case err := <-c.connack: // it was read before the end
			return err
		default:
			return c.conn.why
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read handles packets until the connection ends.
func (c *client5) read() {
	for {
		packet, err := c.conn.wire.next()
		if err != nil {
			return
		}
		if err = mqtt5.Check(packet); err != nil {
			c.conn.end(ProtocolErrorf("%v", err))
			return
		}
		content, err := mqtt5.Decode(packet)
		if err == nil {
			err = c.handle(content)
		}
		if err != nil {
			c.conn.end(err)
			return
		}
	}
}

// handle handles one decoded packet. An error ends the connection.
func (c *client5) handle(content any) error {
	w := c.conn.wire
	switch p := content.(type) {
	case *mqtt5.Connack:
		return c.connected(p)
	case *mqtt5.Publish:
		return c.received(p)
	case *mqtt5.Puback:
		w.mu.Lock()
		w.acceptLocked(p.PacketID, p.ReasonCode, p.Properties.ReasonString)
		w.mu.Unlock()
	case *mqtt5.Suback:
		w.answerRequest(p.PacketID, p.Reasons[0], p.Properties.ReasonString)
	case *mqtt5.Unsuback:
		w.answerRequest(p.PacketID, 0, "") // it is not sent any more in any case
	case *mqtt5.Disconnect:
		return &DisconnectError{p.ReasonCode, p.Properties.ReasonString, p.Properties.ServerReference}
	}
	return nil
}

// ErrNoQoS1 is the error of a connection to a broker of MQTT 5 that takes messages at QoS 0
// alone: nothing would ever be acknowledged.
var ErrNoQoS1 = errors.New("the broker takes no QoS 1 (its Maximum QoS is 0): holdfast needs a broker that does")

// connected takes CONNACK.
func (c *client5) connected(p *mqtt5.Connack) error {
	var err error
	switch maxQoS := p.Properties.MaximumQOS; {
	case p.ReasonCode != 0:
		err = refusedBy(p)
	case maxQoS != nil && *maxQoS == 0:
		err = ErrNoQoS1
	default:
		c.conn.facts = c.factsIn(p.Properties)
		c.conn.facts.Resumed = p.SessionPresent
		c.conn.wire.limit(c.conn.facts)
	}
	c.conn.wire.open.Store(true)
	c.connack <- err
	return err
}

// refusedBy is the error of a CONNACK whose code is not 0.
func refusedBy(p *mqtt5.Connack) error {
	return &RefusedError{p.ReasonCode, p.Properties.ReasonString, p.Properties.ServerReference}
}

// factsIn returns what the properties of a CONNACK say.
func (c *client5) factsIn(p *mqtt5.ConnackProperties) Facts {
	f := Facts{Version: V5, KeepAlive: c.conn.wire.keepAlive, Reason: p.ReasonString,
		NoRetain: p.RetainAvailable != nil && *p.RetainAvailable == 0}
	if p.AssignedClientID != c.packet.ClientID {
		f.ClientID = p.AssignedClientID
	}
	if p.ReceiveMaximum != nil {
		f.ReceiveMaximum = int(*p.ReceiveMaximum)
	}
	if p.MaximumPacketSize != nil {
		f.MaxPacket = int(min(*p.MaximumPacketSize, 1<<30)) // an int has 32 bits on a Pi Zero
	}
	if p.TopicAliasMaximum != nil {
		f.Aliases = int(*p.TopicAliasMaximum)
	}
	// A PINGREQ may come sooner than the broker needs it: section 3.1.2.10.
	if s := p.ServerKeepAlive; s != nil && *s > 0 && (f.KeepAlive == 0 || time.Duration(*s)*time.Second < f.KeepAlive) {
		f.KeepAlive = time.Duration(*s) * time.Second
	}
	return f
}

// received passes a message on, and acknowledges it.
func (c *client5) received(p *mqtt5.Publish) error {
	m := Message{Topic: p.Topic, Payload: p.Payload, Retain: p.Retain, Repeated: p.Duplicate}
	if own := p.Properties; own.ResponseTopic != "" || len(own.CorrelationData) > 0 {
		m.Properties = &Properties{ResponseTopic: own.ResponseTopic, Correlation: own.CorrelationData}
	}
	c.conn.received.hear(m)
	if p.QoS == 0 {
		return nil
	}
	return c.conn.wire.acknowledge(p.PacketID)
}

// subscribe is as protocol has it.
func (c *client5) subscribe(topic string, live bool) Token {
	return c.conn.wire.request(topic, packetSuback, func(id uint16) []byte {
		return mqtt5.EncodeSubscribe(id, topic, live)
	})
}

// unsubscribe is as protocol has it.
func (c *client5) unsubscribe(topic string) Token {
	return c.conn.wire.request(topic, packetUnsuback, func(id uint16) []byte {
		return mqtt5.EncodeUnsubscribe(id, topic)
	})
}

// disconnect is as protocol has it.
func (c *client5) disconnect(will bool) {
	w := c.conn.wire
	w.queuePacket(mqtt5.EncodeDisconnect(will)) // an error says that the connection is lost
	w.outbox.close()
	select {
	case <-w.ended:
	case <-time.After(quiesce):
	}
}

// close is as protocol has it.
func (c *client5) close() { c.reading.Wait() }
