package usbredir

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// echo is a device with one request, which returns what was written last.
type echo struct{ last []byte }

func (e *echo) Identity() Identity {
	return Identity{Vendor: 0x0403, Product: 0xc631, Release: 0x0205, Strings: [3]string{"rig", "echo", "1"}}
}

func (e *echo) Control(s Setup, data []byte) ([]byte, error) {
	switch {
	case s.Request != 7:
		return nil, ErrStall
	case s.In():
		return e.last, nil
	}
	e.last = bytes.Clone(data)
	return nil, nil
}

// plugged is the machine's side of a connection, after the hello.
func plugged(t *testing.T) *wire {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); ServeConn(there, &echo{}) }()
	t.Cleanup(func() { here.Close(); <-done })
	here.SetDeadline(time.Now().Add(time.Minute))

	w := &wire{ReadWriter: here}
	if p := read(t, w); p.kind != hello || len(p.body) != 68 {
		t.Fatalf("first packet is of type %d with %d bytes, not a hello", p.kind, len(p.body))
	}
	if err := w.write(hello, 0, [64]byte{}, capabilities); err != nil {
		t.Fatal(err)
	}
	w.wide = true
	return w
}

func read(t *testing.T, w *wire) packet {
	t.Helper()
	p, err := w.read()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDeviceIsDescribedBeforeItIsConnected(t *testing.T) {
	w := plugged(t)
	for _, want := range []struct {
		kind uint32
		size int // section "Packet type" of the protocol
	}{{endpointInfo, 160}, {interfaceInfo, 132}, {deviceConnect, 10}} {
		p := read(t, w)
		if p.kind != want.kind || len(p.body) != want.size {
			t.Fatalf("packet of type %d with %d bytes, want type %d with %d", p.kind, len(p.body), want.kind, want.size)
		}
		if p.kind == deviceConnect && binary.LittleEndian.Uint16(p.body[4:]) != 0x0403 {
			t.Errorf("connect % x lacks the vendor 0403", p.body)
		}
	}
}

func TestControlTransfers(t *testing.T) {
	w := plugged(t)
	for range 3 {
		read(t, w)
	}
	// transfer sends one request and returns status, length and data of the answer.
	transfer := func(id uint64, s Setup, data string) (byte, uint16, string) {
		t.Helper()
		head := [4]byte{0, s.Request, s.RequestType, 0}
		if err := w.write(controlPacket, id, head, s.Value, s.Index, s.Length, []byte(data)); err != nil {
			t.Fatal(err)
		}
		p := read(t, w)
		if p.kind != controlPacket || p.id != id {
			t.Fatalf("answer of type %d with id %d, want %d with %d", p.kind, p.id, controlPacket, id)
		}
		return p.body[3], binary.LittleEndian.Uint16(p.body[8:]), string(p.body[10:])
	}
	const big = 1 << 40 // an id needs its 64 bits
	for _, c := range []struct {
		setup  Setup
		out    string
		status byte
		length uint16
		in     string
	}{
		{Setup{RequestType: 0x40, Request: 7, Length: 3}, "abc", success, 3, ""},
		{Setup{RequestType: 0xc0, Request: 7, Length: 2}, "", success, 2, "ab"}, // not more than requested
		{Setup{RequestType: 0xc0, Request: 9, Length: 2}, "", stall, 0, ""},
		{Setup{RequestType: 0x80, Request: getDescriptor, Value: 1 << 8, Length: 8}, "", success, 8,
			"\x12\x01\x10\x01\xff\x00\x00\x40"},
		{Setup{RequestType: 0x80, Request: getDescriptor, Value: 3<<8 | 1, Length: 255}, "", success, 8,
			"\x08\x03r\x00i\x00g\x00"},
	} {
		status, length, in := transfer(big, c.setup, c.out)
		if status != c.status || length != c.length || in != c.in {
			t.Errorf("%+v: status %d, length %d, data %q; want %d, %d, %q", c.setup, status, length, in, c.status,
				c.length, c.in)
		}
	}
}

func TestConfigurationIsKept(t *testing.T) {
	w := plugged(t)
	for range 3 {
		read(t, w)
	}
	if err := w.write(setConfig, 5, [1]byte{1}); err != nil {
		t.Fatal(err)
	}
	read(t, w) // endpoints and interfaces again
	read(t, w)
	if p := read(t, w); p.kind != configStatus || p.id != 5 || !bytes.Equal(p.body, []byte{success, 1}) {
		t.Errorf("answer %+v, want configuration 1", p)
	}
}
