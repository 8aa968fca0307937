package mqtt

import (
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connectTo answers one CONNECT with a code, and tells of it.
func connectTo(t *testing.T, l net.Listener, code byte, got chan<- *packets.ConnectPacket) {
	conn, err := l.Accept()
	if err != nil {
		return // the test has ended
	}
	defer conn.Close()
	packet, err := packets.ReadPacket(conn)
	connect, ok := packet.(*packets.ConnectPacket)
	if err != nil || !ok {
		t.Errorf("got %v, %v", packet, err)
		return
	}
	got <- connect
	conn.Write([]byte{0x20, 2, 0, code})
	packets.ReadPacket(conn) // until the client goes
}

// connected is the CONNECT that DialMQTT sends with some options.
func connected(t *testing.T, change func(*Broker), will Message) *packets.ConnectPacket {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan *packets.ConnectPacket, 1)
	go connectTo(t, l, 0, got)
	opt := Broker{ClientID: "porch", Servers: []*url.URL{{Scheme: "mqtt", Host: l.Addr().String()}},
		KeepAlive: 15 * time.Second, Username: "agent"}
	if change != nil {
		change(&opt)
	}
	conn, err := NewDialer(opt).Dial(t.Context(), will)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return <-got
}

// TestConnectCarriesTheWill: without it, a node whose power goes stays online.
func TestConnectCarriesTheWill(t *testing.T) {
	c := connected(t, nil, Message{Topic: "porch/agent/status", Payload: []byte("offline"), Retain: true})
	if !c.WillFlag || c.WillTopic != "porch/agent/status" || string(c.WillMessage) != "offline" || c.WillQos != 1 ||
		!c.WillRetain {
		t.Errorf("will: %v %q %q, QoS %d, retain %v", c.WillFlag, c.WillTopic, c.WillMessage, c.WillQos, c.WillRetain)
	}
	if !c.CleanSession || c.ProtocolVersion != 4 || c.ClientIdentifier != "porch" || c.Keepalive != 15 ||
		c.Username != "agent" {
		t.Errorf("CONNECT: %s", c)
	}
	if c := connected(t, nil, Message{}); c.WillFlag {
		t.Error("a will that nobody made")
	}
}

// TestTheUserNameIsTheClientIDIfOnlyAPasswordIsSet: MQTT 3.1.1 has no password
// without a user name.
func TestTheUserNameIsTheClientIDIfOnlyAPasswordIsSet(t *testing.T) {
	t.Setenv("HOLDFAST_MQTT_PASSWORD", "secret")
	for name, want := range map[string]string{"": "porch", "agent": "agent"} {
		c := connected(t, func(b *Broker) { b.Username, b.Password = name, Secret{Env: "HOLDFAST_MQTT_PASSWORD"} },
			Message{})
		if c.Username != want || string(c.Password) != "secret" {
			t.Errorf("user name %q: got %q, password %q", name, c.Username, c.Password)
		}
	}
}
