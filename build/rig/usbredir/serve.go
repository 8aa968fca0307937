// Package usbredir gives a virtual machine a USB device that is implemented in Go.
//
// It implements the device's side of the usbredir protocol 0.7 (of the SPICE project);
// QEMU's usb-redir is the other side, which the protocol calls the guest. The guest's
// kernel sees a device on its bus and loads the driver of the real device.
package usbredir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// Serve connects the device to each machine that connects, one after the other, until the
// listener is closed.
func Serve(l net.Listener, d Device) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		ServeConn(c, d) // the only error is the end of the machine
	}
}

// ServeConn is the device on one connection, until the connection breaks.
func ServeConn(c net.Conn, d Device) error {
	defer c.Close()
	h := &host{wire: wire{ReadWriter: c}, device: d}
	if err := h.hello(); err != nil {
		return err
	}
	for {
		p, err := h.read()
		if err != nil {
			return err
		}
		if err := h.answer(p); err != nil {
			return err
		}
	}
}

// A host is the device's side of the protocol.
type host struct {
	wire
	device Device
	config byte // set by the guest
}

// capabilities are those that QEMU's xHCI controller requires, and 64-bit ids, which it
// uses to distinguish transfers.
const capabilities uint32 = 1<<capConnectVersion | 1<<capMaxPacketSize | 1<<cap64bitIDs | 1<<capBulkLength

func (h *host) hello() error {
	var version [64]byte
	copy(version[:], "holdfast rig")
	return h.write(hello, 0, version, capabilities)
}

func (h *host) answer(p packet) error {
	switch p.kind {
	case hello:
		h.wide = len(p.body) >= 68 && binary.LittleEndian.Uint32(p.body[64:])&(1<<cap64bitIDs) != 0
		return h.plug()
	case reset, cancel: // no transfer is ever pending
		return nil
	case controlPacket:
		return h.control(p)
	case getConfig:
		return h.write(configStatus, p.id, [2]byte{success, h.config})
	}
	if len(p.body) < 1 {
		return fmt.Errorf("usbredir: packet of type %d is empty", p.kind)
	}
	switch p.kind {
	case setConfig:
		h.config = p.body[0]
		if err := h.describe(); err != nil {
			return err
		}
		return h.write(configStatus, p.id, [2]byte{success, h.config})
	case setAlternate, getAlternate: // each interface has only one setting
		return h.write(altStatus, p.id, [3]byte{success, p.body[0], 0})
	}
	return fmt.Errorf("usbredir: packet of type %d is not for a device without endpoints", p.kind)
}

// plug announces the device. The order is that of the protocol: first its interfaces, then
// its connection.
func (h *host) plug() error {
	if err := h.describe(); err != nil {
		return err
	}
	const fullSpeed = 1
	i := h.device.Identity()
	return h.write(deviceConnect, 0, [4]byte{fullSpeed}, i.Vendor, i.Product, i.Release)
}

// describe sends the endpoints (32: 16 out, 16 in) and the one interface.
func (h *host) describe() error {
	const none = 255 // usb_redir_type_invalid
	var kinds, intervals, interfaces [32]byte
	var sizes [32]uint16
	for i := range kinds {
		kinds[i] = none
	}
	for _, ep0 := range []int{0, 16} {
		kinds[ep0], sizes[ep0] = 0, 64
	}
	if err := h.write(endpointInfo, 0, kinds, intervals, interfaces, sizes); err != nil {
		return err
	}
	vendorClass := [32]byte{0xff}
	return h.write(interfaceInfo, 0, uint32(1), interfaces, vendorClass, [32]byte{}, [32]byte{})
}

// control answers a control transfer; its header is
// usb_redir_control_packet_header.
func (h *host) control(p packet) error {
	const size = 10
	if len(p.body) < size {
		return fmt.Errorf("usbredir: control packet of %d bytes", len(p.body))
	}
	le, b := binary.LittleEndian, p.body
	s := Setup{
		Request: b[1], RequestType: b[2],
		Value: le.Uint16(b[4:]), Index: le.Uint16(b[6:]), Length: le.Uint16(b[8:]),
	}
	in, err := control(h.device, s, b[size:])
	status, length := byte(success), s.Length
	if err != nil {
		status, in = stall, nil
	}
	if s.In() {
		in = in[:min(len(in), int(s.Length))]
		length = uint16(len(in))
	} else {
		in = nil
	}
	return h.write(controlPacket, p.id, [4]byte{b[0], s.Request, s.RequestType, status}, s.Value, s.Index, length, in)
}
