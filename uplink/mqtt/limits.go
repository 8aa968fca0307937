package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt/mqtt5"
)

// BrokerLimits are the capabilities that a broker announces in CONNACK. MQTT 3.1.1
// does not have them, so they are requested with one CONNECT of MQTT 5.
type BrokerLimits struct {
	MaxPacket int  // bytes of a packet that it accepts: MQTT 5, section 3.2.2.3.6; 0: it names no limit
	MaxQoS    byte // 0, 1 or 2: section 3.2.2.3.4
	NoRetain  bool // it does not accept retained messages: section 3.2.2.3.5
}

// ErrNoLimits means that a broker does not announce its limits: it does not speak
// MQTT 5, or refuses the connection.
var ErrNoLimits = errors.New("the broker does not tell its limits")

// QueryLimits connects to a server with MQTT 5, our client ID and account and without
// a will, and disconnects when it has the answer. It ends another connection with
// that client ID: it must not be called while the agent runs.
//
// The error is [ErrNoLimits] if the broker answers without them; any other error
// says why there was no answer.
func (b Broker) QueryLimits(ctx context.Context, server *url.URL) (l BrokerLimits, err error) {
	password, err := b.Password.Read(ctx)
	if err != nil {
		return l, err
	}
	config, err := b.TLS.config(ctx, server.Hostname(), func([]Certificate) {})
	if err != nil {
		return l, err
	}
	conn, err := openSocket(ctx, b, server, config)
	if err != nil {
		return l, err
	}
	defer dropSocket(conn)
	defer context.AfterFunc(ctx, func() { dropSocket(conn) })()
	conn.SetDeadline(time.Now().Add(b.limits().Connect))
	if _, err := conn.Write(b.connect5(password)); err != nil {
		return l, err
	}
	packet, err := readConnack(bufio.NewReader(conn))
	if err != nil {
		return l, fmt.Errorf("%w: %w", ErrNoLimits, err)
	}
	conn.Write(mqtt5.EncodeDisconnect(false)) // in order; the socket is closed anyway
	return limitsIn(packet)
}

// connect5 encodes a CONNECT packet of MQTT 5, section 3.1, with a clean start.
func (b Broker) connect5(password string) []byte {
	return mqtt5.Connect{ClientID: b.ClientID, Username: b.user(password), Password: password, KeepAlive: 30,
		CleanStart: true, ReceiveMaximum: maxUnacked, MaxPacket: maxConnack}.Encode()
}

// maxConnack bounds the bytes of a CONNACK. It has a few properties, of which only
// texts for a person may be long; a larger one is an error.
const maxConnack = 4 << 10

// readConnack reads one packet, which has to be a CONNACK, and returns it. The error is
// errNoMQTT if it is something else.
func readConnack(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return nil, err
	case head != packetConnack<<4:
		return nil, errNoMQTT
	case length < 2 || length > maxConnack:
		return nil, fmt.Errorf("an answer to CONNECT of %d bytes", length)
	}
	packet := binary.AppendUvarint([]byte{head}, length)
	start := len(packet)
	packet = append(packet, make([]byte, length)...)
	_, err = io.ReadFull(r, packet[start:])
	return packet, err
}

// limitsIn decodes a CONNACK. A broker that knows only MQTT 3.1.1 may answer without
// properties; that is [ErrNoLimits], as is any other answer without them.
func limitsIn(packet []byte) (l BrokerLimits, err error) {
	l.MaxQoS = 2 // unless it says less
	if err := mqtt5.Check(packet); err != nil {
		return l, fmt.Errorf("%w: the broker sends %w", ErrNoLimits, err)
	}
	content, err := mqtt5.Decode(packet)
	connack, ok := content.(*mqtt5.Connack)
	switch {
	case err != nil:
		return l, fmt.Errorf("%w: %w", ErrNoLimits, err)
	case !ok:
		return l, fmt.Errorf("%w: %w", ErrNoLimits, errNoMQTT)
	case connack.ReasonCode != 0:
		return l, fmt.Errorf("%w: %w", ErrNoLimits, refusedBy(connack))
	}
	p := connack.Properties
	if p.MaximumQOS != nil {
		l.MaxQoS = *p.MaximumQOS
	}
	l.NoRetain = p.RetainAvailable != nil && *p.RetainAvailable == 0
	if p.MaximumPacketSize != nil {
		l.MaxPacket = int(min(*p.MaximumPacketSize, 1<<30)) // an int has 32 bits on a Pi Zero
	}
	return l, nil
}
