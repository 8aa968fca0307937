package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A server5 answers each connection in order as a script says, and counts them.
type server5 struct {
	*url.URL
	mu       sync.Mutex
	versions []byte             // the level of each CONNECT
	connects []*packets.Connect // those of MQTT 5
}

// serve5 returns a server whose script gets each connection after its CONNECT.
func serve5(t *testing.T, script func(n int, level byte, c net.Conn)) *server5 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server5{URL: &url.URL{Scheme: "mqtt", Host: l.Addr().String()}}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				level, ok := s.note(bufio.NewReader(c))
				if ok {
					script(n, level, c)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

// note reads a CONNECT; it is not ok if something else comes.
func (s *server5) note(in *bufio.Reader) (level byte, ok bool) {
	head, err := in.Peek(9)
	if err != nil || head[0] != packetConnect<<4 {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	level = head[8]
	s.versions = append(s.versions, level)
	if level == 5 {
		p, err := packets.ReadPacket(in)
		if err != nil {
			return 0, false
		}
		s.connects = append(s.connects, p.Content.(*packets.Connect))
	}
	return level, true
}

// stay keeps a connection until the client ends it.
func stay(c net.Conn) { io.Copy(io.Discard, c) }

// dialer5 is a Dialer with a version for some servers.
func dialer5(version Version, servers ...*server5) *Dialer {
	b := Broker{ClientID: "porch", KeepAlive: 15 * time.Second, Protocol: version, WillDelay: 5 * time.Second,
		Limits: Limits{Connect: 5 * time.Second, Write: 5 * time.Second, Silence: time.Minute}}
	for _, s := range servers {
		b.Servers = append(b.Servers, s.URL)
	}
	return NewDialer(b)
}

var accept5, accept311 = []byte{0x20, 3, 0, 0, 0}, []byte{0x20, 2, 0, 0}

// TestAutoFindsTheVersionWithinTwoConnections: however a broker says that it does not
// speak MQTT 5, the second connection is by 3.1.1, and the next one at once.
func TestAutoFindsTheVersionWithinTwoConnections(t *testing.T) {
	for name, refusal := range map[string][]byte{
		"0x84":                  {0x20, 3, 0, 0x84, 0},
		"1, as 3.1.1 has it":    {0x20, 2, 0, 1},
		"accepted as 3.1.1":     {0x20, 2, 0, 0},
		"closes without a word": nil,
		"an answer that is bad": {0x20, 6, 0, 0, 3, 0x23, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve5(t, func(_ int, level byte, c net.Conn) {
				if level == 5 {
					c.Write(refusal)
					return
				}
				c.Write(accept311)
				stay(c)
			})
			d := dialer5(Auto, s)
			for range 2 {
				conn, err := d.Dial(t.Context(), Message{})
				if err != nil {
					t.Fatal(err)
				}
				if conn.Facts().Version != V311 {
					t.Errorf("version %v", conn.Facts().Version)
				}
				conn.Close()
			}
			d.versions[0].refused = d.versions[0].refused.Add(-keepVersion) // a day later
			conn, err := d.Dial(t.Context(), Message{})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Equal(s.versions, []byte{5, 4, 4, 5, 4}) {
				t.Errorf("tried %v", s.versions)
			}
		})
	}
}

// TestABrokerThatIsReplacedIsFoundWithinTwoConnections: one that spoke 5 until now, and one
// that has learned it when it is asked again.
func TestABrokerThatIsReplacedIsFoundWithinTwoConnections(t *testing.T) {
	s := serve5(t, func(n int, level byte, c net.Conn) {
		switch {
		case level == 4:
			c.Write(accept311)
		case n == 0 || n == 3:
			c.Write(accept5)
		default:
			return
		}
		stay(c)
	})
	d := dialer5(Auto, s)
	for i, want := range []Version{V5, V311, V5} {
		if i == 2 {
			d.versions[0].refused = d.versions[0].refused.Add(-keepVersion)
		}
		conn, err := d.Dial(t.Context(), Message{})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.Facts().Version; got != want {
			t.Errorf("connection %d is by %v, want %v", i, got, want)
		}
		conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.versions, []byte{5, 5, 4, 5}) {
		t.Errorf("tried %v", s.versions)
	}
}

// TestARefusalForAnotherReasonIsNotAboutTheVersion: a wrong password is not tried twice,
// and version 5 alone is not given up.
func TestARefusalForAnotherReasonIsNotAboutTheVersion(t *testing.T) {
	for _, c := range []struct {
		version Version
		answer  []byte
		want    string
	}{
		{Auto, []byte{0x20, 8, 0, 0x86, 5, 0x1f, 0, 2, 'n', 'o'}, `user name or password`},
		{Auto, []byte{0x20, 8, 0, 0x86, 5, 0x1f, 0, 2, 'n', 'o'}, `; it says "no"`},
		{V5, []byte{0x20, 2, 0, 0}, "answers as MQTT 3.1.1 does"},
		{V5, []byte{0x20, 5, 0, 0, 2, 0x24, 0}, "no QoS 1"},
		{V5, []byte{0x20, 9, 0, 0, 6, 0x21, 0, 1, 0x21, 0, 1}, "property 0x21 twice"},
	} {
		s := serve5(t, func(_ int, _ byte, conn net.Conn) { conn.Write(c.answer); stay(conn) })
		conn, err := dialer5(c.version, s).Dial(t.Context(), Message{})
		if err == nil {
			conn.Close()
		}
		s.mu.Lock()
		if err == nil || !strings.Contains(err.Error(), c.want) || !slices.Equal(s.versions, []byte{5}) {
			t.Errorf("% x: %v after %v, want %q", c.answer, err, s.versions, c.want)
		}
		s.mu.Unlock()
	}
}

// TestConnectOfVersion5HasOurLimits, and only the first one has a clean start: with
// another one the broker would publish the will that the will delay holds back.
func TestConnectOfVersion5HasOurLimits(t *testing.T) {
	s := serve5(t, func(n int, _ byte, c net.Conn) {
		answer := slices.Clone(accept5)
		answer[2] = byte(n) // Session Present, at the second CONNECT
		c.Write(answer)
		stay(c)
	})
	d := dialer5(V5, s)
	for i := range 2 {
		conn, err := d.Dial(t.Context(), Message{Topic: "porch/agent/status", Payload: []byte("offline"), Retain: true})
		if err != nil {
			t.Fatal(err)
		}
		if resumed := conn.Facts().Resumed; resumed != (i == 1) {
			t.Errorf("connection %d: resumed is %v", i, resumed)
		}
		conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.connects {
		p := c.Properties
		if c.CleanStart != (i == 0) || *p.SessionExpiryInterval != 5 || *p.ReceiveMaximum != maxUnacked ||
			*p.MaximumPacketSize != MaxInbound || c.KeepAlive != 15 || !c.WillRetain || c.WillQOS != 1 ||
			*c.WillProperties.WillDelayInterval != 5 || c.WillProperties.MessageExpiry != nil {
			t.Errorf("CONNECT %d: %s", i, c)
		}
	}
}

// TestServerReferenceIsFollowedOnlyToConfiguredServers, from CONNACK and from DISCONNECT.
func TestServerReferenceIsFollowedOnlyToConfiguredServers(t *testing.T) {
	reference := func(head, length byte, code byte, to string) []byte {
		b := []byte{head, length + byte(4+len(to)), code, byte(3 + len(to)), 0x1c, 0, byte(len(to))}
		if head == 0x20 {
			b = append([]byte{head, length + byte(5+len(to)), 0}, b[2:]...)
		}
		return append(b, to...)
	}
	third := serve5(t, func(_ int, _ byte, c net.Conn) { c.Write(accept5); stay(c) })
	second := serve5(t, func(_ int, _ byte, c net.Conn) {
		c.Write(accept5)
		c.Write(reference(0xe0, 1, 0x9d, third.Host))
		stay(c)
	})
	first := serve5(t, func(_ int, _ byte, c net.Conn) {
		c.Write(reference(0x20, 1, 0x9c, "evil.example "+second.Host))
		stay(c)
	})
	d := dialer5(V5, first, third, second)
	for _, want := range []*server5{second, third} {
		conn, err := d.Dial(t.Context(), Message{})
		if err != nil {
			t.Fatal(err)
		}
		if conn.Server() != want.Host {
			t.Errorf("connected to %s, want %s", conn.Server(), want.Host)
		}
		if want == second {
			<-conn.Done()
			var ended *DisconnectError
			if !errors.As(conn.Err(), &ended) || ended.Code != 0x9d || errors.Is(conn.Err(), ErrBrokerClosed) {
				t.Errorf("lost by %v", conn.Err())
			}
		}
		conn.Close()
	}
}

// TestTheLimitsOfTheBrokerAreKnown.
func TestTheLimitsOfTheBrokerAreKnown(t *testing.T) {
	s := serve5(t, func(_ int, _ byte, c net.Conn) {
		c.Write([]byte{0x20, 22, 0, 0, 19, 0x21, 0, 20, 0x27, 0, 0, 0, 60, 0x25, 0, 0x22, 0, 10, 0x13, 0, 7, 0x12, 0, 0})
		stay(c)
	})
	conn, err := dialer5(V5, s).Dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := Facts{Version: V5, KeepAlive: 7 * time.Second, ReceiveMaximum: 20, MaxPacket: 60, NoRetain: true, Aliases: 10}
	if conn.Facts() != want {
		t.Errorf("facts %+v", conn.Facts())
	}
	var large *PublishError
	m := Message{Topic: "porch/humidity", Payload: make([]byte, 60)}
	if token := conn.Publish(m); !errors.As(token.Error(), &large) || !large.AboutMessage() {
		t.Errorf("a message that is too large: %v", token.Error())
	}
}

// TestAnswersOfVersion5ComeWithTheirReasons: each publication and subscription has its own
// code, in whichever form it comes.
func TestAnswersOfVersion5ComeWithTheirReasons(t *testing.T) {
	s := serve5(t, func(_ int, _ byte, c net.Conn) {
		c.Write(accept5)
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			switch p := p.Content.(type) {
			case *packets.Subscribe:
				code := byte(1)
				if p.Subscriptions[0].Topic == "denied" {
					code = 0x87
				}
				(&packets.Suback{PacketID: p.PacketID, Properties: &packets.Properties{}, Reasons: []byte{code}}).WriteTo(c)
			case *packets.Publish:
				var code byte
				fmt.Sscanf(p.Topic, "code/%d", &code)
				id := []byte{byte(p.PacketID >> 8), byte(p.PacketID)}
				switch {
				case code == 0:
					c.Write([]byte{0x40, 2, id[0], id[1]})
				case code == 0x97:
					(&packets.Puback{PacketID: p.PacketID, ReasonCode: code,
						Properties: &packets.Properties{ReasonString: "so much"}}).WriteTo(c)
				default:
					c.Write([]byte{0x40, 3, id[0], id[1], code})
				}
			}
		}
	})
	conn, err := dialer5(V5, s).Dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, code := range []byte{0, 0x10, 0x87, 0x97, 0x99, 0xff} {
		token := conn.Publish(Message{Topic: fmt.Sprintf("code/%d", code), Payload: []byte("1")})
		<-token.Done()
		var refused *PublishError
		failed := errors.As(token.Error(), &refused)
		if failed != (code >= 0x80) || failed && refused.Code != code || Unheard(token) != (code == 0x10) ||
			code == 0x97 && refused.Reason != "so much" {
			t.Errorf("code %#x: %v, unheard %v", code, token.Error(), Unheard(token))
		}
	}
	for topic, want := range map[string]bool{"allowed": false, "denied": true} {
		token := conn.Subscribe(topic)
		<-token.Done()
		var denied *DeniedError
		if errors.As(token.Error(), &denied) != want {
			t.Errorf("subscription to %s: %v", topic, token.Error())
		}
	}
}
