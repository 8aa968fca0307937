package i2csim

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCRC8KnownAnswers(t *testing.T) {
	for _, c := range []struct {
		data string
		want byte
	}{
		{"123456789", 0xf7}, // the check value of CRC-8/NRSC-5, the same polynomial and start
		{"\xbe\xef", 0x92},  // Sensirion's datasheets (SHT3x, table "checksum")
	} {
		if got := CRC8([]byte(c.data)); got != c.want {
			t.Errorf("CRC8(% x) = %#x, want %#x", c.data, got, c.want)
		}
	}
}

// By the datasheet's formulas 50 % is 0x80000 and 25 °C is 0x60000.
func TestAHT20Measures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &AHT20{}
		a.Set(25, 50)
		a.Write([]byte{0xbe, 0x08, 0x00})
		a.Write([]byte{0xac, 0x33, 0x00})
		time.Sleep(80 * time.Millisecond) // datasheet 5.4

		got := make([]byte, 8)
		a.Read(got)
		data := []byte{0x08, 0x80, 0x00, 0x06, 0x00, 0x00}
		want := append(bytes.Clone(data), CRC8(data), 0xff)
		if !bytes.Equal(got, want) {
			t.Errorf("read % x, want % x", got, want)
		}
	})
}

func TestAHT20IsBusyWhileItMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &AHT20{}
		a.Write([]byte{0xbe, 0x08, 0x00})
		a.Write([]byte{0xac, 0x33, 0x00})
		status := make([]byte, 1)
		a.Read(status)
		if status[0] != 0x88 {
			t.Errorf("status %#x right after the trigger, want busy and calibrated, 0x88", status[0])
		}
		time.Sleep(80 * time.Millisecond)
		if a.Read(status); status[0] != 0x08 {
			t.Errorf("status %#x after 80 ms, want calibrated, 0x08", status[0])
		}
	})
}

func TestAHT20StaysInRange(t *testing.T) {
	a := &AHT20{}
	a.Set(200, 130)
	if got, want := a.measure(), [6]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff}; got != want {
		t.Errorf("beyond its range it says % x, want % x", got, want)
	}
}

func TestSilentPartDoesNotAnswer(t *testing.T) {
	b := NewBus(map[byte]Part{AHT20Address: &AHT20{}})
	status := make([]byte, 1)
	if err := b.Read(AHT20Address, status); err != nil {
		t.Errorf("a part that is there: %v", err)
	}
	if err := b.Read(0x39, status); !errors.Is(err, ErrNAK) {
		t.Errorf("an empty address: %v", err)
	}
	b.Silence(AHT20Address, true)
	if err := b.Write(AHT20Address, []byte{0x71}); !errors.Is(err, ErrNAK) {
		t.Errorf("a silent part: %v", err)
	}
	b.Silence(AHT20Address, false)
	if err := b.Write(AHT20Address, []byte{0x71}); err != nil {
		t.Errorf("a part that is back: %v", err)
	}
}
