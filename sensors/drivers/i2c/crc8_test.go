package i2c

import (
	"slices"
	"strings"
	"testing"
)

// The examples in the datasheets of SHT3x (4.12) and HTU21D ("CRC-8 checksum
// using I²C protocol").
func TestChecksumIsTheDatasheets(t *testing.T) {
	for _, c := range []struct {
		start byte
		data  []byte
		want  byte
	}{
		{0xff, []byte{0xbe, 0xef}, 0x92},
		{0x00, []byte{0xdc}, 0x79},
		{0x00, []byte{0x68, 0x3a}, 0x7c},
		{0x00, []byte{0x4e, 0x85}, 0x6b},
	} {
		if got := CRC8(c.start, c.data); got != c.want {
			t.Errorf("% x: 0x%02x, want 0x%02x", c.data, got, c.want)
		}
	}
}

func TestDeadBusWordsAreRejected(t *testing.T) {
	for _, dead := range []byte{0x00, 0xff} {
		for _, start := range []byte{0x00, 0xff} { // from 0x00, zeros have the checksum 0x00
			got, err := DecodeWords(start, slices.Repeat([]byte{dead}, 6))
			if err == nil || !strings.HasPrefix(err.Error(), "reads only 0x") || got != nil {
				t.Errorf("0x%02x from 0x%02x: %v, %v", dead, start, got, err)
			}
		}
	}
}

// Decoding returns the encoded words, and rejects all other bytes.
func FuzzWords(f *testing.F) {
	f.Add(byte(0xff), EncodeWords(0xff, 0xbeef, 0x1234))
	f.Add(byte(0x00), EncodeWords(0x00, 0x683a))
	f.Add(byte(0x00), make([]byte, 3))
	f.Fuzz(func(t *testing.T, start byte, r []byte) {
		if len(r) == 0 || len(r)%3 != 0 {
			return
		}
		all, err := DecodeWords(start, r)
		if err == nil && !slices.Equal(EncodeWords(start, all...), r) {
			t.Errorf("% x gave %x", r, all)
		}
	})
}
