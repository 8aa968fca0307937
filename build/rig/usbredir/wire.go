package usbredir

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Packet types, section "Packet type" of the usbredir protocol 0.7.
const (
	hello         = 0
	deviceConnect = 1
	reset         = 3
	interfaceInfo = 4
	endpointInfo  = 5
	setConfig     = 6
	getConfig     = 7
	configStatus  = 8
	setAlternate  = 9
	getAlternate  = 10
	altStatus     = 11
	cancel        = 21
	controlPacket = 100
)

// Capabilities, as bit numbers of the hello packet's first word.
const (
	capConnectVersion = 1
	capMaxPacketSize  = 4
	cap64bitIDs       = 5
	capBulkLength     = 6
)

// Status of a transfer, usb_redir_success and usb_redir_stall.
const (
	success = 0
	stall   = 4
)

// longest limits a packet from the guest: control transfers are smaller than 64 KiB.
const longest = 1 << 17

// A packet is one message of the protocol.
type packet struct {
	kind uint32
	id   uint64 // the answer has the id of the request
	body []byte
}

// wire frames packets. All numbers are little-endian.
type wire struct {
	io.ReadWriter
	wide bool // ids have 64 bits: both sides have announced that
}

func (w *wire) read() (packet, error) {
	head := make([]byte, w.header())
	if _, err := io.ReadFull(w, head); err != nil {
		return packet{}, err
	}
	le := binary.LittleEndian
	p := packet{kind: le.Uint32(head), id: uint64(le.Uint32(head[8:]))}
	if w.wide {
		p.id = le.Uint64(head[8:])
	}
	length := le.Uint32(head[4:])
	if length > longest {
		return packet{}, fmt.Errorf("usbredir: packet of %d bytes", length)
	}
	p.body = make([]byte, length)
	_, err := io.ReadFull(w, p.body)
	return p, err
}

// write sends one packet; parts are fixed-size values or byte slices.
func (w *wire) write(kind uint32, id uint64, parts ...any) error {
	body := pack(parts...)
	b := pack(kind, uint32(len(body)))
	if w.wide {
		b = append(b, pack(id)...)
	} else {
		b = append(b, pack(uint32(id))...)
	}
	_, err := w.Write(append(b, body...))
	return err
}

func (w *wire) header() int {
	if w.wide {
		return 16
	}
	return 12
}

func pack(parts ...any) []byte {
	var b bytes.Buffer
	for _, part := range parts {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic("usbredir: " + err.Error()) // a part without a fixed size: a bug
		}
	}
	return b.Bytes()
}
