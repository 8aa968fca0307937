// Package modbusfake has a Modbus instrument for tests, on a pseudo terminal and on loopback.
// It does not use the library that it helps to test.
package modbusfake

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The functions that a Unit knows.
const (
	readCoils     = 1
	readDiscretes = 2
	readHolding   = 3
	readInput     = 4
)

// A Unit is an instrument. The maps must be set before it is served. It refuses an address that is not
// in them with exception 2, and a nil table with exception 1.
type Unit struct {
	ID              byte
	Holding, Input  map[uint16]uint16
	Coils, Discrete map[uint16]bool

	mu      sync.Mutex
	mangle  func(frame []byte) []byte // guarded by mu
	overlap int                       // requests that came before an answer; guarded by mu
	line    *os.File                  // the controlling end of the pseudo terminal
}

// Mangle passes the frame of each answer through change, which may return another frame, a part of it,
// or none. nil ends that.
func (u *Unit) Mangle(change func(frame []byte) []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mangle = change
}

// Overlap returns how many requests arrived while another one was not answered yet.
func (u *Unit) Overlap() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.overlap
}

// Serial serves the unit by Modbus RTU until the test ends, and returns the device.
func (u *Unit) Serial(t testing.TB) (device string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.SetNonblock(fd, true); err != nil { // Fd made it blocking, and Close would wait for a read
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	device = fmt.Sprintf("/dev/pts/%d", n)
	// One end stays open, so that the other one does not end when the agent closes the line.
	slave, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, &unix.Termios{Cflag: unix.CS8 | unix.CREAD}); err != nil {
		t.Fatal(err)
	}
	u.line = master
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.serveLine(master)
	}()
	t.Cleanup(func() { master.Close(); <-done; slave.Close() })
	return device
}

// Send puts bytes on the line of Serial, as if they came late from the unit.
func (u *Unit) Send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := u.line.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// serveLine answers requests, all of which have eight bytes, until the line is closed.
func (u *Unit) serveLine(line *os.File) {
	request := make([]byte, 8)
	for {
		if _, err := io.ReadFull(line, request); err != nil {
			return
		}
		if pending, err := unix.IoctlGetInt(int(line.Fd()), unix.TIOCINQ); err == nil && pending > 0 {
			u.mu.Lock()
			u.overlap++
			u.mu.Unlock()
		}
		unix.SetNonblock(int(line.Fd()), true)
		if request[0] != u.ID || CRC(request[:6]) != binary.LittleEndian.Uint16(request[6:]) {
			continue // it is for another unit
		}
		line.Write(u.changed(RTU(u.ID, u.answer(request[1:6]))))
	}
}

// TCP serves the unit by Modbus TCP until the test ends, and returns the address.
func (u *Unit) TCP(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := func() { conn.Close() }
			t.Cleanup(stop)
			all.Go(func() { defer stop(); u.serveConn(conn) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// serveConn answers requests, all of which have twelve bytes. It closes the connection where
// an answer is to be left out.
func (u *Unit) serveConn(conn net.Conn) {
	request := make([]byte, 12)
	for {
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		pdu := u.answer(request[7:])
		frame := append([]byte(nil), request[:4]...) // transaction and protocol
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(pdu)+1))
		frame = append(append(frame, request[6]), pdu...)
		if frame = u.changed(frame); frame == nil {
			return
		}
		if _, err := conn.Write(frame); err != nil {
			return
		}
	}
}

func (u *Unit) changed(frame []byte) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mangle == nil {
		return frame
	}
	return u.mangle(frame)
}

// answer returns the answer to a request, without the unit's address and the checksum.
func (u *Unit) answer(request []byte) []byte {
	function, first, count := request[0], binary.BigEndian.Uint16(request[1:]), binary.BigEndian.Uint16(request[3:])
	words, bits := u.Holding, u.Coils
	if function == readInput {
		words = u.Input
	}
	if function == readDiscretes {
		bits = u.Discrete
	}
	switch {
	case (function == readHolding || function == readInput) && words != nil:
		answer := []byte{function, byte(2 * count)}
		for i := range count {
			w, ok := words[first+i]
			if !ok {
				return []byte{function | 0x80, 2}
			}
			answer = binary.BigEndian.AppendUint16(answer, w)
		}
		return answer
	case (function == readCoils || function == readDiscretes) && bits != nil && count == 1:
		bit, ok := bits[first]
		if !ok {
			return []byte{function | 0x80, 2}
		}
		answer := []byte{function, 1, 0}
		if bit {
			answer[2] = 1
		}
		return answer
	}
	return []byte{function | 0x80, 1}
}

// RTU returns a frame of Modbus RTU.
func RTU(unit byte, pdu []byte) []byte {
	frame := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(frame, CRC(frame))
}

// CRC returns the checksum of Modbus RTU (Modbus over Serial Line V1.02, 6.2.2).
func CRC(frame []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, b := range frame {
		crc ^= uint16(b)
		for range 8 {
			odd := crc&1 == 1
			if crc >>= 1; odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}
