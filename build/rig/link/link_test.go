package link

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// echo is a server that returns what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// tape records the data of a connection.
type tape struct {
	mu       sync.Mutex
	up, down bytes.Buffer
}

func (p *tape) ToServer(b []byte) { p.mu.Lock(); p.up.Write(b); p.mu.Unlock() }
func (p *tape) ToClient(b []byte) { p.mu.Lock(); p.down.Write(b); p.mu.Unlock() }

// talk sends a message through the cable and returns the connection, nil without an answer.
func talk(t *testing.T, c *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	conn.Write([]byte("hello"))
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello" {
		return nil
	}
	return conn
}

func TestCutCableTakesNewConnections(t *testing.T) {
	c, err := New(echo(t), nil, Shape{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := talk(t, c)
	c.Cut()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the cut")
	}
	if talk(t, c) == nil {
		t.Error("no answer after the cut")
	}
}

func TestCutIsInTheMiddleOfAMessage(t *testing.T) {
	var p tape
	c, err := New(echo(t), func() cable.Tap { return &p }, Shape{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.CutAfter(3) {
		t.Error("there is something to cut before there is a connection")
	}
	conn := talk(t, c)
	c.CutAfter(3)
	conn.Write([]byte("hello"))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the cut")
	}
	if talk(t, c) == nil {
		t.Error("no answer after the cut")
	}
	c.Close()
	if got := p.up.String(); got != "hellohelhello" {
		t.Errorf("the tap saw %q, want the middle of the second greeting", got)
	}
}
