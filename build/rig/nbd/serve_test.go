package nbd

import (
	"net"
	"testing"
	"time"
)

// client is the machine's side of a connection, after the handshake.
func client(t *testing.T, d *Disk) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); d.serve(there) }()
	t.Cleanup(func() { here.Close(); <-done })
	here.SetDeadline(time.Now().Add(time.Minute))

	var greeting struct {
		Server, Option uint64
		Flags          uint16
	}
	get(t, here, &greeting)
	if greeting.Server != magicServer || greeting.Option != magicOption {
		t.Fatalf("greeting %+v", greeting)
	}
	const structuredReply = 8
	put(t, here, uint32(fixedNoZeros), uint64(magicOption), uint32(structuredReply), uint32(0))
	if kind := option(t, here); kind != repUnsupported {
		t.Fatalf("structured replies: %#x, want unsupported", kind)
	}
	name := []byte{0, 0, 0, 0, 0, 0} // no name, no particular information wanted
	put(t, here, uint64(magicOption), uint32(optGo), uint32(len(name)), name)
	for option(t, here) != repAck {
	}
	return here
}

func put(t *testing.T, c net.Conn, parts ...any) {
	t.Helper()
	if err := send(c, parts...); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c net.Conn, into any) {
	t.Helper()
	if err := receive(c, into); err != nil {
		t.Fatal(err)
	}
}

// option reads one reply to an option and returns its kind.
func option(t *testing.T, c net.Conn) uint32 {
	t.Helper()
	var r struct {
		Magic                uint64
		Option, Kind, Length uint32
	}
	get(t, c, &r)
	get(t, c, make([]byte, r.Length))
	return r.Kind
}

// command sends a request and returns the error code of the answer.
func command(t *testing.T, c net.Conn, flags, kind uint16, offset uint64, length int, data []byte) uint32 {
	t.Helper()
	const cookie = 0xc00c1e
	put(t, c, head{magicRequest, flags, kind, cookie, offset, uint32(length)}, data)
	var r struct {
		Magic, Code uint32
		Cookie      uint64
	}
	get(t, c, &r)
	if r.Magic != magicSimpleReply || r.Cookie != cookie {
		t.Fatalf("reply %+v", r)
	}
	return r.Code
}

func TestWriteFlushReadOverTheWire(t *testing.T) {
	d := blank(t, false)
	c := client(t, d)
	if code := command(t, c, 0, cmdWrite, sectorSize, sectorSize, sector('w')); code != 0 {
		t.Fatalf("write: error %d", code)
	}
	if got := d.Usage(); got != (Usage{Writes: 1, Volatile: 1}) {
		t.Errorf("before the flush: %+v", got)
	}
	if code := command(t, c, 0, cmdFlush, 0, 0, nil); code != 0 {
		t.Fatalf("flush: error %d", code)
	}
	if got := d.Usage(); got != (Usage{Writes: 1, Flushes: 1}) {
		t.Errorf("after the flush: %+v", got)
	}
	if code := command(t, c, 0, cmdRead, sectorSize, sectorSize, nil); code != 0 {
		t.Fatalf("read: error %d", code)
	}
	b := make([]byte, sectorSize)
	if get(t, c, b); b[0] != 'w' {
		t.Errorf("read %q", b[0])
	}
}

func TestForcedWriteIsDurable(t *testing.T) {
	d := blank(t, false)
	c := client(t, d)
	command(t, c, flagFUA, cmdWrite, 0, sectorSize, sector('f'))
	cut(t, d, 0, 1)
	if got := first(t, d.session(), 0); got != 'f' {
		t.Errorf("sector 0 is %q after the cut", got)
	}
}

func TestRequestOutsideTheDiskIsRefused(t *testing.T) {
	c := client(t, blank(t, false))
	for _, offset := range []uint64{sectors * sectorSize, 1, 1<<64 - sectorSize} {
		if code := command(t, c, 0, cmdWrite, offset, sectorSize, sector('x')); code != errInvalid {
			t.Errorf("write at %d: error %d, want %d", offset, code, errInvalid)
		}
	}
}
