package tinyusb

import (
	"bytes"
	"testing"

	"github.com/holdfast-iot/holdfast/build/rig/i2csim"
	"github.com/holdfast-iot/holdfast/build/rig/usbredir"
)

// memory is a part with one register that stores the last message.
type memory struct{ held []byte }

func (m *memory) Write(data []byte) { m.held = bytes.Clone(data) }
func (m *memory) Read(into []byte)  { copy(into, m.held) }

const address = 0x50

func status(t *testing.T, a *Adapter) byte {
	t.Helper()
	b, err := a.Control(usbredir.Setup{RequestType: 0xc0, Request: cmdStatus, Length: 1}, nil)
	if err != nil || len(b) != 1 {
		t.Fatalf("status % x, %v", b, err)
	}
	return b[0]
}

func TestMessagesReachThePart(t *testing.T) {
	a := New(i2csim.NewBus(map[byte]i2csim.Part{address: &memory{}}))
	a.Control(usbredir.Setup{RequestType: 0x40, Request: cmdIO + 1, Index: address, Length: 2}, []byte{7, 8})
	if s := status(t, a); s != acknowledged {
		t.Errorf("status %d after a write, want %d", s, acknowledged)
	}
	in, err := a.Control(usbredir.Setup{RequestType: 0xc0, Request: cmdIO + 2, Index: address, Length: 2}, nil)
	if err != nil || !bytes.Equal(in, []byte{7, 8}) {
		t.Errorf("read % x, %v; want 07 08", in, err)
	}
}

func TestMissingPartIsNotAcknowledged(t *testing.T) {
	a := New(i2csim.NewBus(nil))
	a.Control(usbredir.Setup{RequestType: 0x40, Request: cmdIO + 3, Index: address}, nil)
	if s := status(t, a); s != notAcknowledged {
		t.Errorf("status %d, want %d", s, notAcknowledged)
	}
}

func TestUnknownRequestStalls(t *testing.T) {
	if _, err := New(i2csim.NewBus(nil)).Control(usbredir.Setup{RequestType: 0x40, Request: 99},
		nil); err != usbredir.ErrStall {
		t.Errorf("error %v, want %v", err, usbredir.ErrStall)
	}
}
