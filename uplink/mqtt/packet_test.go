package mqtt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A scripted socket hands out what a broker sends, and then nothing more.
type scripted struct {
	net.Conn
	from io.Reader
}

func (s *scripted) Read(p []byte) (int, error)       { return s.from.Read(p) }
func (s *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }
func (s *scripted) Close() error                     { return nil }

// readAll reads a wire to its end, as the library does, and returns what it
// got and why there is no more.
func readAll(sent []byte, asked ...uint16) (got []byte, why error) {
	var once sync.Once
	w := newWire(&scripted{from: bytes.NewReader(sent)}, Limits{}, func(err error) { once.Do(func() { why = err }) })
	for _, id := range asked {
		w.expected[id] = packetSuback
	}
	got, _ = io.ReadAll(w)
	w.drop()
	return got, why
}

func TestTheLibraryReadsOnlyValidPackets(t *testing.T) {
	good := []byte{0x20, 2, 0, 0, 0x90, 3, 0, 7, 1, 0x30, 5, 0, 1, 'a', 'h', 'i', 0x32, 5, 0, 1, 'a', 0, 9, 0xd0, 0}
	sent := bytes.Clone(good)
	binary.BigEndian.PutUint16(sent[6:], mirrored(7)) // of SUBACK
	got, why := readAll(sent, mirrored(7))
	if !bytes.Equal(got, good) || !errors.Is(why, ErrBrokerClosed) {
		t.Errorf("got % x, %v", got, why)
	}
}

// TestAnAnswerOfTheWrongTypeIsRefused: an answer of another type than the packet with
// its number wants ends the connection.
func TestAnAnswerOfTheWrongTypeIsRefused(t *testing.T) {
	packets := map[string][]byte{"SUBSCRIBE": {0x82, 6, 0, 7, 0, 1, 'a', 1}, "UNSUBSCRIBE": {0xa2, 5, 0, 7, 0, 1, 'a'},
		"PUBLISH": {0x32, 5, 0, 1, 'a', 0, 7}}
	answers := map[string][]byte{"SUBSCRIBE": {0x90, 3, 0xff, 0xf9, 1}, "UNSUBSCRIBE": {0xb0, 2, 0xff, 0xf9},
		"PUBLISH": {0x40, 2, 0xff, 0xf9}}
	for name, packet := range packets {
		for other, answer := range answers {
			var why error
			var once sync.Once
			from := bytes.NewReader(append([]byte{0x20, 2, 0, 0}, answer...))
			w := newWire(&scripted{from: from}, Limits{}, func(err error) { once.Do(func() { why = err }) })
			w.Write(packet)
			io.ReadAll(w)
			w.drop()
			var b *ProtocolError
			if broken := errors.As(why, &b); broken == (name == other) {
				t.Errorf("%s answered as %s: %v", name, other, why)
			}
		}
	}
}

// TestAProtocolErrorNamesAMessageThatIsTooLarge, where its topic came with its header.
func TestAProtocolErrorNamesAMessageThatIsTooLarge(t *testing.T) {
	header := []byte{0x20, 2, 0, 0, 0x31, 0x80, 0x80, 0x40} // of 1 MiB
	for sent, want := range map[string]string{"\x00\x03a/b{": "a/b", "\x00\x03a/": "", "\x00": "", "": "",
		"\xff\xffa/b": ""} {
		_, why := readAll(append(header[:len(header):len(header)], sent...))
		var b *ProtocolError
		if !errors.As(why, &b) || b.Topic != want || b.Bytes != 1<<20 {
			t.Errorf("%q: topic %q of %v", sent, b.Topic, why)
		}
	}
}

// FuzzWire: what reaches the library is whole packets of five kinds, but for the
// last, none longer than allowed, the first CONNACK. A PUBACK never does.
func FuzzWire(f *testing.F) {
	connack := []byte{0x20, 2, 0, 0}
	for _, packet := range [][]byte{{0x90, 3, 0, 7, 1}, {0x40, 2, 0, 7}, {0xb0, 2, 0, 7},
		{0x30, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x32, 5, 0, 1, 'a', 0, 9}, {0x34, 5, 0, 1, 'a', 0, 9}, {0x31, 2, 0xff, 0xff}, {0xd0, 0}, {0xe0, 0},
		{0x20, 0x82, 0, 0, 0}} {
		f.Add(append(connack[:4:4], packet...))
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, why := readAll(sent, 7)
		if !isSubsequence(unmirrored(got), sent) || why == nil {
			t.Fatalf("got % x of % x, %v", got, sent, why)
		}
		var b *ProtocolError
		if !errors.Is(why, ErrBrokerClosed) && !errors.Is(why, errNoMQTT) && !errors.As(why, &b) {
			t.Fatalf("% x: %v", sent, why)
		}
		in := bufio.NewReader(bytes.NewReader(got))
		for first := true; ; first = false {
			head, err := in.ReadByte()
			if err != nil {
				return
			}
			length, err := binary.ReadUvarint(in)
			if want, fixed := lengths[head>>4]; err != nil || head>>4 == packetPuback || length > MaxInbound ||
				fixed && int(length) != want || !fixed && head>>4 != packetPublish {
				t.Fatalf("head %02x, length %d, %v of % x", head, length, err, sent)
			}
			if first != (head>>4 == packetConnack) {
				t.Fatalf("a packet of type %d in % x", head>>4, sent)
			}
			if _, err := in.Discard(int(length)); err != nil {
				return
			}
		}
	})
}

// unmirrored is what the library reads, with the packet IDs that the broker sent.
func unmirrored(read []byte) []byte {
	sent := bytes.Clone(read)
	for rest := sent; len(rest) > 1; {
		length, n := binary.Uvarint(rest[1:])
		if kind := rest[0] >> 4; (kind == packetSuback || kind == packetUnsuback) && len(rest) >= n+3 {
			id := rest[1+n:]
			binary.BigEndian.PutUint16(id, mirrored(binary.BigEndian.Uint16(id)))
		}
		rest = rest[min(len(rest), 1+n+int(length)):]
	}
	return sent
}

// isSubsequence reports whether b is what is left of all when some bytes are taken out.
func isSubsequence(b, all []byte) bool {
	for len(b) > 0 {
		i := bytes.IndexByte(all, b[0])
		if i < 0 {
			return false
		}
		b, all = b[1:], all[i+1:]
	}
	return true
}

// TestSlowLinkIsNotTreatedAsDead: 64 KiB at 1 kB/s take a minute, and the link takes
// something all the time; one that takes nothing is dead.
func TestSlowLinkIsNotTreatedAsDead(t *testing.T) {
	for _, alive := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			failed := make(chan error, 1)
			w := newWire(near, Limits{Write: 10 * time.Second}, func(err error) { failed <- err })
			var took int
			done := make(chan struct{})
			go func() {
				defer close(done)
				for buf := make([]byte, 100); alive; time.Sleep(100 * time.Millisecond) {
					n, err := far.Read(buf)
					if took += n; err != nil {
						return
					}
				}
			}()
			w.Write(make([]byte, maxUnsent))
			time.Sleep(90 * time.Second)
			select {
			case err := <-failed:
				if alive {
					t.Error(err)
				}
			default:
				if !alive {
					t.Error("the link has taken nothing for 90 s, and lives")
				}
			}
			w.drop()
			far.Close()
			<-done
			if alive && took != maxUnsent {
				t.Errorf("%d of %d bytes arrived", took, maxUnsent)
			}
		})
	}
}
