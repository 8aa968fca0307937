package i2csim

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func registers(b *BME280, first byte, n int) []byte {
	into := make([]byte, n)
	b.Write([]byte{first})
	b.Read(into)
	return into
}

func TestBME280Identity(t *testing.T) {
	if id := registers(NewBME280(), 0xd0, 1)[0]; id != 0x60 {
		t.Errorf("chip id %#x, want 0x60 (datasheet 5.4.1)", id)
	}
}

// The calibration is read in the order of table 16 of the datasheet.
func TestBME280Calibration(t *testing.T) {
	b := NewBME280()
	c, h := registers(b, 0x88, 26), registers(b, 0xe1, 7)
	signed := func(b []byte) int { return int(int16(binary.LittleEndian.Uint16(b))) }
	for _, v := range []struct {
		name      string
		got, want int
	}{
		{"dig_T1", int(binary.LittleEndian.Uint16(c)), 27504},
		{"dig_T3", signed(c[4:]), -1000},
		{"dig_P9", signed(c[22:]), 6000},
		{"dig_H1", int(c[25]), 75},
		{"dig_H2", signed(h), 362},
		{"dig_H4", int(h[3])<<4 | int(h[4]&0xf), 313},
		{"dig_H5", int(h[5])<<4 | int(h[4]>>4), 50},
		{"dig_H6", int(h[6]), 30},
	} {
		if v.got != v.want {
			t.Errorf("%s is %d, want %d", v.name, v.got, v.want)
		}
	}
}

func TestBME280MeasuresWhenForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBME280()
		raw := func() [3]int {
			d := registers(b, 0xf7, 8)
			return [3]int{int(d[0])<<12 | int(d[1])<<4 | int(d[2])>>4, int(d[3])<<12 | int(d[4])<<4 | int(d[5])>>4,
				int(d[6])<<8 | int(d[7])}
		}
		if got, want := raw(), [3]int{0x80000, 0x80000, 0x8000}; got != want {
			t.Errorf("before a measurement %x, want %x", got, want)
		}
		b.Write([]byte{0xf2, 0x01, 0xf4, 0x25}) // each quantity once, forced
		if s := registers(b, 0xf3, 2); s[0] != 0x08 || s[1] != 0x24 {
			t.Errorf("status and mode % x, want measuring and then to sleep: 08 24", s)
		}
		time.Sleep(10 * time.Millisecond)
		if s := registers(b, 0xf3, 1); s[0] != 0 {
			t.Errorf("status %#x after 10 ms", s[0])
		}
		if got, want := raw(), [3]int{415148, 519888, 30000}; got != want {
			t.Errorf("measured %d, want %d", got, want)
		}
		b.Write([]byte{0xe0, 0xb6})
		if got := raw()[1]; got != 0x80000 {
			t.Errorf("after a reset %x", got)
		}
	})
}
