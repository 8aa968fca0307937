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

// An unansweredError is a connection that the other end closed or reset before
// it answered CONNECT.
type unansweredError struct {
	err    error
	silent bool   // it did neither, and says nothing
	why    string // found out, or what it can be
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

// notMQTT is an answer to CONNECT by something else.
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

// speaks is the protocol of which these are the first bytes; empty: none that is
// known here.
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
	askTime  = 5 * time.Second  // for a connection that finds out why another failed
	askEvery = 10 * time.Minute // a broker may change its mind
)

// A finding is why a server does not answer.
type finding struct {
	why string
	at  time.Time
}

// findOut says why a server ended a connection without a word, or what it can
// be. MQTT 3.1.1 has no code for most of what a broker does not take in CONNECT.
// To know, it connects a few times more: with and without TLS, and with less of
// a will. It does so once in askEvery, however often the server is tried.
func (d *Dialer) findOut(ctx context.Context, server *url.URL, will Message, err error) error {
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
	if !known || time.Since(f.at) > askEvery {
		f = finding{why: d.ask(ctx, server, will, early), at: time.Now()}
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

func notTLS(speaks string) string {
	switch speaks {
	case "HTTP":
		return "this port answers HTTP without TLS: write ws:// if it is the broker's port for WebSocket"
	case "MQTT":
		return "this port speaks MQTT without TLS: use the broker's port for TLS, usually 8883, or write mqtt://"
	}
	return "this port does not speak TLS: use the broker's port for TLS, usually 8883, or write mqtt://"
}

// encrypts reports whether we speak TLS with a server.
func encrypts(server *url.URL) bool { return server.Scheme == "mqtts" || server.Scheme == "wss" }

// ask connects to find out why a server does not answer CONNECT; early is nil if
// there was no connection to send it on.
func (d *Dialer) ask(ctx context.Context, server *url.URL, will Message, early *unansweredError) string {
	broker := d.broker
	broker.Limits = broker.limits()
	broker.Limits.Connect = min(askTime, broker.Limits.Connect)
	plain := &url.URL{Scheme: "mqtt", Host: server.Host}
	switch {
	case encrypts(server) && early == nil:
		if answer := broker.hello(ctx, plain, anonymous); answer != "" {
			return notTLS(answer)
		}
		return "the other end closed it without an alert: its log may say why"
	case !encrypts(server) && broker.speaksTLS(ctx, plain):
		return "this port speaks TLS: write " + server.Scheme + "s://"
	case early == nil:
		return ""
	case server.Scheme == "mqtt" && broker.hello(ctx, plain,
		"GET / HTTP/1.1\r\nHost: "+server.Host+"\r\n\r\n") == "HTTP":
		return "this port speaks HTTP: write ws:// if it is the broker's port for WebSocket"
	}
	if early.silent {
		return ""
	}
	return broker.askForWill(ctx, server, will)
}

// askForWill finds out whether it is the will that the broker does not take.
func (b Broker) askForWill(ctx context.Context, server *url.URL, will Message) string {
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
		return fmt.Sprintf("the broker may want a client certificate, or may not take MQTT 3.1.1, the client ID, the "+
			"user name "+
			"or a packet of %d bytes: its log may say which", size)
	case will.Retain && answers(unretained):
		return "the broker does not take a will that is retained: set mqtt.retain: false (docs/brokers.md says what " +
			"is lost)"
	}
	return fmt.Sprintf("the broker takes no will at QoS 1, or no CONNECT of %d bytes: holdfast needs a broker with "+
		"QoS 1 "+
		"(in Mosquitto max_qos 1, and a larger max_packet_size)", size)
}

// connectSize is that of a CONNECT packet. MQTT 3.1.1, section 3.1.
func (b Broker) connectSize(ctx context.Context, will Message) int {
	size := 12 + 2 + len(b.ClientID) + 2 + len(will.Topic) + 2 + len(will.Payload)
	if password, err := b.Password.Read(ctx); err == nil && password != "" {
		size += 2 + len(b.Username) + 2 + len(password)
	}
	return size
}

// anonymous is a CONNECT without a client ID, a user name and a password: it
// gives nothing away to a port that was meant to be encrypted.
var anonymous = "\x10\x0c" + "\x00\x04MQTT" + "\x04\x02" + "\x00\x0a" + "\x00\x00"

// hello sends some bytes to a port, and says which protocol answers.
func (b Broker) hello(ctx context.Context, plain *url.URL, text string) string {
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

// speaksTLS reports whether a port answers a TLS handshake, with whatever
// certificate.
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
