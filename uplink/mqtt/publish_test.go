package mqtt

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"pgregory.net/rapid"
)

// A pieces reader hands out what it has in pieces of given lengths.
type pieces struct {
	all     []byte
	lengths []int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.all) == 0 {
		return 0, io.EOF
	}
	n := len(p.all)
	if len(p.lengths) > 0 {
		n, p.lengths = min(n, p.lengths[0]), p.lengths[1:]
	}
	n = copy(b, p.all[:n])
	p.all = p.all[n:]
	return n, nil
}

// A sink is a socket that keeps what is written.
type sink struct {
	scripted
	mu   sync.Mutex
	sent bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent.Write(p)
}

// TestLibraryAndWireGetTheirOwnAnswers: whatever the order of our packets and the library's,
// and wherever the stream is split, the broker gets the same packets, our tokens
// are closed by our PUBACKs alone, and the library reads the rest as it was sent.
func TestLibraryAndWireGetTheirOwnAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, answers, rest []byte // what the broker gets, what it sends, and what the library reads of that
		answers = append(answers, 0x20, 2, 0, 0)
		rest = append(rest, answers...)
		socket := &sink{}
		w := newWire(socket, Limits{}, func(error) {})
		var tokens []Token
		var acked []bool
		unanswered := map[uint16]int{} // our tokens, by their numbers
		library := uint16(rapid.SampledFrom([]int{0, 16000, 40000, 65000}).Draw(t, "library"))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"publish", "publish", "ack", "subscribe", "message", "ping",
				"stray"}).Draw(t, "step") {
			case "publish":
				m := Message{Topic: rapid.StringN(1, 20, 60).Draw(t, "topic"), Payload: rapid.SliceOfN(rapid.Byte(), 0,
					300).Draw(t, "payload"),
					Retain: rapid.Bool().Draw(t, "retain"), AtMostOnce: rapid.Bool().Draw(t, "once")}
				tokens = append(tokens, w.publish(m))
				acked = append(acked, m.AtMostOnce)
				p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
				p.TopicName, p.Payload, p.Retain = m.Topic, m.Payload, m.Retain
				if !m.AtMostOnce {
					p.Qos, p.MessageID = 1, w.flight.next-1
					if _, twice := unanswered[p.MessageID]; twice || p.MessageID == 0 {
						t.Fatalf("number %d is taken", p.MessageID)
					}
					unanswered[p.MessageID] = len(tokens) - 1
				}
				want = appendPacket(want, p)
			case "ack":
				if len(unanswered) == 0 {
					continue
				}
				ids := make([]uint16, 0, len(unanswered))
				for id := range unanswered {
					ids = append(ids, id)
				}
				slices.Sort(ids)
				id := rapid.SampledFrom(ids).Draw(t, "id")
				answers = append(answers, 0x40, 2, byte(id>>8), byte(id))
				acked[unanswered[id]] = true
				delete(unanswered, id)
			case "subscribe":
				if library++; library == 0 {
					library++
				}
				id := mirrored(library)
				if _, ours := unanswered[id]; ours {
					t.Fatalf("the library takes number %d, which is ours", id)
				}
				s := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
				s.MessageID, s.Topics, s.Qoss = library, []string{"a"}, []byte{1}
				packet := appendPacket(nil, s)
				w.Write(packet)
				s.MessageID = id
				want = appendPacket(want, s)
				answers = append(answers, 0x90, 3, byte(id>>8), byte(id), 1)
				rest = append(rest, 0x90, 3, byte(library>>8), byte(library), 1)
			case "message":
				m := []byte{0x30, 5, 0, 1, 'a', 'h', 'i'}
				answers, rest = append(answers, m...), append(rest, m...)
			case "ping":
				answers, rest = append(answers, 0xd0, 0), append(rest, 0xd0, 0)
			case "stray":
				answers = append(answers, 0x40, 2, 0, 0)
			}
		}
		socket.from = &pieces{answers, rapid.SliceOf(rapid.IntRange(1, 9)).Draw(t, "pieces")}
		got, _ := io.ReadAll(w)
		w.failAll()
		w.Close()
		if !bytes.Equal(got, rest) {
			t.Fatalf("the library reads % x, want % x", got, rest)
		}
		if !bytes.Equal(socket.sent.Bytes(), want) {
			t.Fatalf("the broker gets % x, want % x", socket.sent.Bytes(), want)
		}
		for i, token := range tokens {
			if !closed(token.Done()) || (token.Error() == nil) != acked[i] {
				t.Fatalf("message %d: closed %v, error %v, acknowledged %v", i, closed(token.Done()), token.Error(),
					acked[i])
			}
		}
	})
}

func appendPacket(b []byte, p packets.ControlPacket) []byte {
	var buf bytes.Buffer
	p.Write(&buf)
	return append(b, buf.Bytes()...)
}

// TestPacketIDsStayApartFromTheLibrarys, for more packets of both than there are IDs.
func TestPacketIDsStayApartFromTheLibrarys(t *testing.T) {
	f := flight{next: aheadOfLibrary, waiting: map[uint16]*publication{}}
	var order []uint16
	for i := range 300_000 {
		id := f.add(&publication{})
		if order = append(order, id); len(order) > 1000 {
			delete(f.waiting, order[0])
			order = order[1:]
		}
		if i%3 == 0 {
			if f.library--; f.waiting[f.library] != nil { // they count down
				t.Fatalf("after %d: number %d is in flight twice", i, f.library)
			}
		}
	}
	for range 70_000 { // the library alone goes on
		f.library--
		if id := f.add(&publication{}); id == f.library || id == 0 {
			t.Fatalf("number %d", id)
		} else {
			delete(f.waiting, id)
		}
	}
}

// TestATokenFailsWhenTheConnectionIsLost, and so does one that comes too late.
func TestATokenFailsWhenTheConnectionIsLost(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	w := newWire(near, Limits{}, func(error) {})
	token := w.publish(Message{Topic: "a", Payload: []byte("1")})
	if closed(token.Done()) {
		t.Error("closed before anything was answered")
	}
	w.failAll()
	late := w.publish(Message{Topic: "a"})
	for _, token := range []Token{token, late} {
		if !closed(token.Done()) || token.Error() == nil {
			t.Error("a token without an error")
		}
	}
	far.Close()
	w.drop()
}

// TestPublishAllocatesOnce: the token.
func TestPublishAllocatesOnce(t *testing.T) {
	answers, answer := io.Pipe()
	w := newWire(&scripted{from: answers}, Limits{}, func(error) {})
	go io.Copy(io.Discard, w)
	answer.Write([]byte{0x20, 2, 0, 0})
	m := Message{Topic: "porch/room", Payload: bytes.Repeat([]byte("x"), 100)}
	var puback [4]byte
	n := testing.AllocsPerRun(1000, func() {
		token := w.publish(m)
		puback = [4]byte{0x40, 2}
		binary.BigEndian.PutUint16(puback[2:], w.flight.next-1)
		answer.Write(puback[:])
		<-w.await(token.(*publication))
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
	answer.Close()
	w.drop()
}
