package usbredir

import "errors"

// ErrStall is the answer of a device to an unknown request.
var ErrStall = errors.New("stall")

// A Device is a USB device with one configuration, one vendor-specific
// interface and no endpoint but the control endpoint.
type Device interface {
	Identity() Identity

	// Control handles a vendor request. For a read request it returns at most s.Length bytes;
	// for a write request, data is the data of the request.
	Control(s Setup, data []byte) ([]byte, error)
}

// Identity identifies a device for drivers.
type Identity struct {
	Vendor, Product, Release uint16
	Strings                  [3]string // manufacturer, product, serial number
}

// Setup is the setup packet of a control transfer, USB 2.0 section 9.3.
type Setup struct {
	RequestType, Request byte
	Value, Index, Length uint16
}

// In reports whether the device sends the data.
func (s Setup) In() bool { return s.RequestType&0x80 != 0 }

func (s Setup) vendor() bool { return s.RequestType&0x60 == 0x40 }

// Standard requests and descriptor types, USB 2.0 tables 9-4 and 9-5.
const (
	getStatus     = 0
	getDescriptor = 6

	deviceDescriptor = 1
	configDescriptor = 2
	stringDescriptor = 3
)

// control handles the standard requests that reach a redirected device and passes vendor
// requests to it.
func control(d Device, s Setup, data []byte) ([]byte, error) {
	switch {
	case s.vendor():
		return d.Control(s, data)
	case s.Request == getDescriptor:
		return d.Identity().descriptor(s.Value)
	case s.Request == getStatus:
		return []byte{0, 0}, nil
	case s.In():
		return nil, ErrStall
	}
	return nil, nil // SET_FEATURE and others have no effect
}

func (i Identity) descriptor(value uint16) ([]byte, error) {
	switch value >> 8 {
	case deviceDescriptor: // USB 1.1, vendor class, 64-byte packets, strings 1 to 3, one configuration
		return pack([]byte{18, deviceDescriptor, 0x10, 0x01, 0xff, 0, 0, 64},
			i.Vendor, i.Product, i.Release, []byte{1, 2, 3, 1}), nil
	case configDescriptor: // bus powered, 100 mA; one interface without endpoints
		return []byte{
			9, configDescriptor, 18, 0, 1, 1, 0, 0x80, 50,
			9, 4, 0, 0, 0, 0xff, 0, 0, 0}, nil
	case stringDescriptor:
		return i.text(int(value & 0xff))
	}
	return nil, ErrStall
}

func (i Identity) text(n int) ([]byte, error) {
	if n == 0 {
		return []byte{4, stringDescriptor, 0x09, 0x04}, nil // the one language: English (US)
	}
	if n > len(i.Strings) {
		return nil, ErrStall
	}
	b := []byte{0, stringDescriptor}
	for _, r := range i.Strings[n-1] {
		b = append(b, byte(r), byte(r>>8)) // UTF-16LE
	}
	b[0] = byte(len(b))
	return b, nil
}
