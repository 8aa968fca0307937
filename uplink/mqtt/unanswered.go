package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// An unansweredError says that the other end closed or reset a connection before it
// answered CONNECT, or did not answer in time.
type unansweredError struct {
	err    error
	silent bool   // it has neither closed nor reset the connection
	why    string // the cause that diagnose has found; empty: unknown
}

func (e *unansweredError) Error() string {
	text := e.err.Error()
	if !e.silent {
		text = "no answer to CONNECT: " + text
	}
	if e.why != "" {
		text += ": " + e.why
	}
	return text
}

func (e *unansweredError) Unwrap() error { return e.err }

// notMQTT returns an error about an answer to CONNECT that is not MQTT. It names the
// protocol if the first bytes show it.
func (w *wire) notMQTT() error {
	head, _ := w.in.Peek(min(w.in.Buffered(), 5))
	why := "is this host and port a broker's?"
	switch speaks(head) {
	case "TLS":
		why = "it is TLS: write mqtts:// (or wss://)"
	case "HTTP":
		why = "it is HTTP: write ws:// if this is the broker's port for WebSocket"
	}
	return fmt.Errorf("%w: %s", errNoMQTT, why)
}

// speaks returns the protocol of which these are the first bytes: "TLS" (an alert or
// a handshake), "HTTP" or "MQTT" (a CONNACK); "" if it is another.
func speaks(head []byte) string {
	switch {
	case len(head) >= 2 && (head[0] == 0x15 || head[0] == 0x16) && head[1] == 3: // RFC 8446, section 5.1
		return "TLS"
	case bytes.HasPrefix(head, []byte("HTTP")):
		return "HTTP"
	case bytes.HasPrefix(head, []byte{packetConnack << 4, 2}):
		return "MQTT"
	}
	return ""
}

const (
	diagnoseTimeout  = 5 * time.Second  // for each connection of a diagnosis
	diagnoseInterval = 10 * time.Minute // how long a finding is used: the broker may be configured anew
)

// A finding is the result of a diagnosis.
type finding struct {
	why string    // for a person; empty: the cause was not found
	at  time.Time // when it was found
}

// diagnose adds to an error of a connection why the server ended it without a reason,
// if that can be found out. MQTT 3.1.1 has no return code for most of what a broker
// may refuse in CONNECT. It makes a few more connections: with and without TLS, and
// with less of a will. It does so once in diagnoseInterval for each server, however
// often that is tried, and only after errors that a wrong configuration can cause.
func (d *Dialer) diagnose(ctx context.Context, server *url.URL, will Message, err error) error {
	var early *unansweredError
	var header tls.RecordHeaderError
	unanswered, secure := errors.As(err, &early), encrypts(server)
	switch {
	case errors.As(err, &header):
		return fmt.Errorf("%w: %s", err, notTLS(speaks(header.RecordHeader[:])))
	case ctx.Err() != nil:
		return err
	case unanswered, secure && (errors.Is(err, io.EOF) || IsReset(err)), !secure &&
		errors.Is(err, websocket.ErrBadHandshake):
	default:
		return err
	}
	key := server.Scheme + server.Host
	f, known := d.findings[key]
	if !known || time.Since(f.at) > diagnoseInterval {
		f = finding{why: d.findCause(ctx, server, will, early), at: time.Now()}
		d.findings[key] = f
	}
	switch {
	case f.why == "":
		return err
	case unanswered:
		return &unansweredError{early.err, early.silent, f.why}
	}
	return fmt.Errorf("%w: %s", err, f.why)
}

// notTLS returns what to do about a port without TLS that answers in this protocol.
func notTLS(speaks string) string {
	switch speaks {
	case "HTTP":
		return "this port answers HTTP without TLS: write ws:// if it is the broker's port for WebSocket"
	case "MQTT":
		return "this port speaks MQTT without TLS: use the broker's port for TLS, usually 8883, or write mqtt://"
	}
	return "this port does not speak TLS: use the broker's port for TLS, usually 8883, or write mqtt://"
}

// encrypts reports whether a server is configured with TLS.
func encrypts(server *url.URL) bool { return server.Scheme == "mqtts" || server.Scheme == "wss" }

// findCause makes the connections of a diagnosis, and returns the cause for a person;
// "" if it was not found. early is nil if the first connection failed before CONNECT
// was sent.
func (d *Dialer) findCause(ctx context.Context, server *url.URL, will Message, early *unansweredError) string {
	broker := d.broker
	if broker.Protocol == Auto {
		broker.Protocol = V311 // what was tried last
	}
	broker.Limits = broker.limits()
	broker.Limits.Connect = min(diagnoseTimeout, broker.Limits.Connect)
	plain := &url.URL{Scheme: "mqtt", Host: server.Host}
	switch {
	case encrypts(server) && early == nil:
		if answer := broker.protocolAt(ctx, plain, anonymous); answer != "" {
			return notTLS(answer)
		}
		return "the other end closed it without an alert: its log may say why"
	case !encrypts(server) && broker.speaksTLS(ctx, plain):
		return "this port speaks TLS: write " + server.Scheme + "s://"
	case early == nil:
		return ""
	case server.Scheme == "mqtt" && broker.protocolAt(ctx, plain,
		"GET / HTTP/1.1\r\nHost: "+server.Host+"\r\n\r\n") == "HTTP":
		return "this port speaks HTTP: write ws:// if it is the broker's port for WebSocket"
	}
	if early.silent {
		return ""
	}
	return broker.tryWills(ctx, server, will)
}

// tryWills connects without a will and with one that is not retained, to find out
// whether the broker refuses the will. A refusal with a return code counts as an
// answer: that CONNECT was understood.
func (b Broker) tryWills(ctx context.Context, server *url.URL, will Message) string {
	size := b.connectSize(ctx, will)
	answers := func(will Message) bool {
		conn, err := dialServer(ctx, b, server, new(segments), will)
		var refused *RefusedError
		if err != nil {
			return errors.As(err, &refused)
		}
		conn.Disconnect()
		conn.Close()
		return true
	}
	unretained := will
	unretained.Retain = false
	switch {
	case !answers(Message{}):
		return fmt.Sprintf("the broker may want a client certificate, or may not take this version of MQTT, the "+
			"client ID, the user name or a packet of %d bytes: its log may say which", size)
	case will.Retain && answers(unretained):
		return "the broker does not take a will that is retained: set mqtt.retain: false (docs/brokers.md says what " +
			"is lost)"
	}
	return fmt.Sprintf("the broker takes no will at QoS 1, or no CONNECT of %d bytes: holdfast needs a broker with "+
		"QoS 1 "+
		"(in Mosquitto max_qos 1, and a larger max_packet_size)", size)
}

// connectSize returns the bytes of our CONNECT packet: MQTT 3.1.1, section 3.1.
func (b Broker) connectSize(ctx context.Context, will Message) int {
	size := 12 + 2 + len(b.ClientID) + 2 + len(will.Topic) + 2 + len(will.Payload)
	if password, err := b.Password.Read(ctx); err == nil && password != "" {
		size += 2 + len(b.Username) + 2 + len(password)
	}
	return size
}

// anonymous is a CONNECT packet of MQTT 3.1.1 without a client ID, a user name and a
// password: it may be sent unencrypted to a port that was meant to be encrypted.
var anonymous = "\x10\x0c" + "\x00\x04MQTT" + "\x04\x02" + "\x00\x0a" + "\x00\x00"

// protocolAt connects without TLS, sends a text, and returns which protocol answers,
// see speaks. It is "" if nothing answers in time, too. b.Limits has to be set.
func (b Broker) protocolAt(ctx context.Context, plain *url.URL, text string) string {
	conn, err := openSocket(ctx, b, plain, nil)
	if err != nil {
		return ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(b.Limits.Connect))
	head := make([]byte, 4)
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	if _, err := io.ReadFull(conn, head); err != nil {
		return ""
	}
	return speaks(head)
}

// speaksTLS reports whether a port answers a TLS handshake, with any certificate, or
// with an alert.
func (b Broker) speaksTLS(ctx context.Context, plain *url.URL) bool {
	secure := &url.URL{Scheme: "mqtts", Host: plain.Host}
	conn, err := openSocket(ctx, b, secure, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: plain.Hostname()})
	if err == nil {
		conn.Close()
		return true
	}
	var invalid *tls.CertificateVerificationError
	_, alert := alertOf(err)
	return alert || errors.As(err, &invalid)
}
