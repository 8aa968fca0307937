package mqtt5

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// TestPublishEqualsThatOfTheLibrary compares our encoding of PUBLISH with what the
// library decodes from it.
func TestPublishEqualsThatOfTheLibrary(t *testing.T) {
	expiry := uint32(70000)
	alias := uint16(9)
	for name, c := range map[string]struct {
		sent Publication
		want packets.Publish
	}{
		"bare": {Publication{Topic: "a/b", Payload: []byte("x"), ID: 7},
			packets.Publish{Topic: "a/b", Payload: []byte("x"), PacketID: 7, QoS: 1}},
		"retained, at QoS 0, with an alias and an expiry": {
			Publication{Alias: 9, Topic: "a", Retain: true, Properties: &Properties{Expiry: expiry}},
			packets.Publish{Topic: "a", Retain: true, Payload: []byte{},
				Properties: &packets.Properties{MessageExpiry: &expiry, TopicAlias: &alias}}},
		"a request, of more than one byte of length": {
			Publication{Topic: "a", ID: 1, Payload: bytes.Repeat([]byte("x"), 200), Properties: &Properties{
				ResponseTopic: "r", Correlation: []byte{1, 0}, User: []User{{"k", "v"}, {"k", strings.Repeat("w", 300)}}}},
			packets.Publish{Topic: "a", QoS: 1, PacketID: 1, Payload: bytes.Repeat([]byte("x"), 200),
				Properties: &packets.Properties{ResponseTopic: "r", CorrelationData: []byte{1, 0},
					User: []packets.User{{Key: "k", Value: "v"}, {Key: "k", Value: strings.Repeat("w", 300)}}}}},
	} {
		if c.want.Properties == nil {
			c.want.Properties = &packets.Properties{}
		}
		packet := c.sent.AppendTo(nil)
		got, err := Decode(packet)
		if err != nil || !reflect.DeepEqual(got, &c.want) || len(packet) != c.sent.Size() {
			t.Errorf("%s: %+v, %v; size %d of % x", name, got, err, c.sent.Size(), packet)
		}
	}
}

// valid are packets that a broker may send.
var valid = [][]byte{
	{0x20, 3, 0, 0, 0},
	{0x20, 6, 0, 0, 3, 0x21, 0, 20},
	{0x20, 3, 0, 0x84, 0},
	{0x40, 2, 0, 7}, {0x40, 3, 0, 7, 0x10}, {0x40, 4, 0, 7, 0x87, 0},
	{0x40, 8, 0, 7, 0x87, 4, 0x1f, 0, 1, 'n'},
	{0x40, 18, 0, 7, 0, 14, 0x26, 0, 1, 'a', 0, 1, 'b', 0x26, 0, 1, 'a', 0, 1, 'b'},
	{0x90, 4, 0, 7, 0, 1}, {0xb0, 4, 0, 7, 0, 0}, {0xd0, 0},
	{0xe0, 0}, {0xe0, 1, 0x8e}, {0xe0, 2, 0x8e, 0}, {0xe0, 6, 0x9c, 4, 0x1c, 0, 1, 'h'},
	{0x30, 5, 0, 1, 'a', 0, 'x'}, {0x32, 6, 0, 1, 'a', 0, 9, 0},
	{0x30, 9, 0, 1, 'a', 5, 2, 0, 0, 0, 1}, {0x30, 7, 0, 1, 'a', 3, 0x0b, 0x80, 1},
}

func TestValidPacketsAreAccepted(t *testing.T) {
	for _, packet := range valid {
		if err := Check(packet); err != nil {
			t.Errorf("% x: the broker sends %v", packet, err)
		}
		if _, err := Decode(packet); err != nil {
			t.Errorf("% x: %v", packet, err)
		}
	}
}

func TestInvalidPacketIsAnError(t *testing.T) {
	for want, packet := range map[string][]byte{
		"a CONNACK of 2 bytes":                                    {0x20, 2, 0, 0},
		"a CONNACK with flags 0x1":                                {0x21, 3, 0, 0, 0},
		"a CONNACK with properties of no valid length":            {0x20, 3, 0, 0, 9},
		"a CONNACK with 1 bytes behind its properties":            {0x20, 4, 0, 0, 0, 0},
		"a CONNACK with property 0x23, which it must not have":    {0x20, 6, 0, 0, 3, 0x23, 0, 1},
		"a CONNACK with property 0x7f, which it must not have":    {0x20, 4, 0, 0, 1, 0x7f},
		"a CONNACK with property 0x21 twice":                      {0x20, 9, 0, 0, 6, 0x21, 0, 1, 0x21, 0, 1},
		"a CONNACK whose property 0x21 has no valid value":        {0x20, 6, 0, 0, 3, 0x21, 0, 0},
		"a CONNACK whose property 0x27 has no valid value":        {0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0},
		"a CONNACK whose property 0x24 has no valid value":        {0x20, 5, 0, 0, 2, 0x24, 2},
		"a CONNACK whose property 0x1f has no valid value":        {0x20, 7, 0, 0, 4, 0x1f, 0, 1, 0xff},
		"a CONNACK whose property 0x26 has no valid value":        {0x20, 10, 0, 0, 7, 0x26, 0, 1, 'a', 0, 1, 0},
		"a CONNACK whose property 0x1f is cut short":              {0x20, 6, 0, 0, 3, 0x1f, 0, 9},
		"a PUBACK of 1 bytes":                                     {0x40, 1, 0},
		"a SUBACK of 3 bytes":                                     {0x90, 3, 0, 7, 0},
		"a SUBACK with 2 bytes behind its properties":             {0x90, 5, 0, 7, 0, 1, 1},
		"a PINGRESP of 1 bytes":                                   {0xd0, 1, 0},
		"a PUBLISH of 1 bytes":                                    {0x30, 1, 0},
		"a PUBLISH without a topic":                               {0x30, 6, 0, 0, 3, 0x23, 0, 1},
		"a PUBLISH whose property 0x23 has no valid value":        {0x30, 7, 0, 1, 'a', 3, 0x23, 0, 1},
		"a topic of 9 bytes in a PUBLISH of 3":                    {0x30, 3, 0, 9, 'a'},
		"a PUBLISH whose topic is not valid UTF-8":                {0x30, 4, 0, 1, 0xff, 0},
		"a DISCONNECT with property 0x11, which it must not have": {0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1},
		"a packet that is not for us: type 15":                    {0xf0, 0},
	} {
		if err := Check(packet); err == nil || err.Error() != want {
			t.Errorf("% x: %v, want %q", packet, err, want)
		}
	}
}

// FuzzCheck: the library decodes whatever Check accepts, and nothing panics.
func FuzzCheck(f *testing.F) {
	for _, packet := range valid {
		f.Add(packet[0], packet[2:])
	}
	f.Fuzz(func(t *testing.T, head byte, body []byte) {
		if len(body) > 0x3fff {
			return
		}
		packet := []byte{head, byte(len(body))}
		if len(body) > 0x7f {
			packet = []byte{head, byte(len(body)) | 0x80, byte(len(body) >> 7)}
		}
		packet = append(packet, body...)
		if Check(packet) != nil {
			return
		}
		if _, err := Decode(packet); err != nil {
			t.Fatalf("% x: %v", packet, err)
		}
	})
}

// TestEncodedPacketsAreDecodedEqually compares the other packets in the same way.
func TestEncodedPacketsAreDecodedEqually(t *testing.T) {
	c := Connect{ClientID: "porch", Username: "u", Password: "p", KeepAlive: 15, SessionExpiry: 5,
		ReceiveMaximum: 20, MaxPacket: 1000, Will: Will{Topic: "porch/agent/status", Payload: []byte("offline"),
			Retain: true, Delay: 5}}
	p, err := Decode(c.Encode())
	got, ok := p.(*packets.Connect)
	if err != nil || !ok || got.CleanStart || *got.Properties.SessionExpiryInterval != 5 || got.ClientID != "porch" ||
		*got.Properties.ReceiveMaximum != 20 || *got.Properties.MaximumPacketSize != 1000 || got.WillQOS != 1 ||
		!got.WillRetain || *got.WillProperties.WillDelayInterval != 5 || string(got.Password) != "p" ||
		got.Username != "u" || got.KeepAlive != 15 || string(got.WillMessage) != "offline" {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = Decode(EncodeSubscribe(3, "a", true))
	if s, ok := p.(*packets.Subscribe); err != nil || !ok || len(s.Subscriptions) != 1 || s.PacketID != 3 ||
		s.Subscriptions[0] != (packets.SubOptions{Topic: "a", QoS: 1, RetainHandling: 2, NoLocal: true,
			RetainAsPublished: true}) {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = Decode(EncodeDisconnect(true))
	d, ok := p.(*packets.Disconnect)
	if err != nil || !ok || d.ReasonCode != 4 || *d.Properties.SessionExpiryInterval != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}
