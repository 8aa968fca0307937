package wire

import (
	"bufio"
	"bytes"
	"net"
	"testing"
)

// FuzzRead: any data from a broker gives packets or an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x40, 2, 0, 1, 0x90, 3, 0, 1, 1})
	f.Add([]byte{0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conn{in: bufio.NewReader(bytes.NewReader(data))}
		for read := 0; ; {
			_, body, err := c.Read()
			if err != nil {
				return
			}
			if read += 2 + len(body); read > len(data) {
				t.Fatalf("%d bytes read of %d", read, len(data))
			}
		}
	})
}

// TestAMessageComesBackAsItWasSent, including one with a length of two bytes.
func TestAMessageComesBackAsItWasSent(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	payload := bytes.Repeat([]byte("x"), 300)
	go func() {
		c := &Conn{Conn: ours, Out: bufio.NewWriter(ours)}
		c.Send(nil, "a/b", 7, payload)
		c.Out.Flush()
	}()
	var answer bytes.Buffer
	c := &Conn{Conn: theirs, in: bufio.NewReader(theirs), Out: bufio.NewWriter(&answer)}
	kind, body, err := c.Read()
	if err != nil || kind != Publish {
		t.Fatal(kind, err)
	}
	topic, text := c.Acknowledge(body)
	c.Out.Flush()
	if string(topic) != "a/b" || !bytes.Equal(text, payload) || !bytes.Equal(answer.Bytes(), []byte{Puback, 2, 0, 7}) {
		t.Errorf("topic %q, %d bytes, answered % x", topic, len(text), answer.Bytes())
	}
}
