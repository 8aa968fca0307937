package cable

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
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
func talk(t *testing.T, c *Cable) net.Conn {
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

func TestCableCarriesAndIsTapped(t *testing.T) {
	var p tape
	c, err := New(echo(t), func() Tap { return &p }, Link{})
	if err != nil {
		t.Fatal(err)
	}
	if talk(t, c) == nil {
		t.Fatal("no answer through the cable")
	}
	c.Close()
	if p.up.String() != "hello" || p.down.String() != "hello" {
		t.Errorf("the tap saw %q and %q", p.up.String(), p.down.String())
	}
}

func TestPulledCableBreaksAndRefuses(t *testing.T) {
	c, err := New(echo(t), nil, Link{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := talk(t, c)
	c.Pull()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the cable")
	}
	if talk(t, c) != nil {
		t.Error("a pulled cable carries a new connection")
	}
	c.Plug()
	if talk(t, c) == nil {
		t.Error("no answer after the cable was plugged in")
	}
}

// TestDataBeforeAServersCloseArrives: the server answers and closes with unread data, as
// Mosquitto does for a denied publish, while the client continues to send.
func TestDataBeforeAServersCloseArrives(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1))
			conn.Write([]byte("why"))
			conn.Close() // a reset, because of unread data
		}
	}()
	c, err := New(l.Addr().String(), nil, Link{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 200 {
		conn, err := net.Dial("tcp", c.Addr())
		if err != nil {
			t.Fatal(err)
		}
		var talking sync.WaitGroup
		talking.Go(func() {
			for range 20 {
				conn.Write([]byte("words"))
			}
		})
		if said, _ := io.ReadAll(conn); string(said) != "why" {
			t.Errorf("%q arrived", said)
		}
		conn.Close()
		talking.Wait()
	}
}
