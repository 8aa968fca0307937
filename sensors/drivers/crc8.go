package drivers

import (
	"encoding/binary"
	"fmt"
	"time"
)

// crc8 is the checksum that most parts here use: CRC-8 with the polynomial
// x^8+x^5+x^4+1 (0x31). What it starts from differs.
func crc8(start byte, data []byte) byte {
	crc := start
	for _, b := range data {
		crc ^= b
		for range 8 {
			top := crc & 0x80
			if crc <<= 1; top != 0 {
				crc ^= 0x31
			}
		}
	}
	return crc
}

// words takes words of 16 bits apart, the high byte first and a checksum behind
// each, as Sensirion's parts and those made after them send everything.
func words(start byte, r []byte) ([]uint16, error) {
	if err := alive(r); err != nil {
		return nil, err
	}
	var all []uint16
	for ; len(r) >= 3; r = r[3:] {
		if want := crc8(start, r[:2]); r[2] != want {
			return nil, fmt.Errorf("wrong checksum 0x%02x, want 0x%02x", r[2], want)
		}
		all = append(all, binary.BigEndian.Uint16(r))
	}
	return all, nil
}

// ask sends a command, gives the part time, and reads as many words, of which
// each checksum starts from start.
func (p *part) ask(wait time.Duration, start byte, n int, command ...byte) ([]uint16, error) {
	if err := p.command(command...); err != nil {
		return nil, err
	}
	if err := p.pause(wait); err != nil {
		return nil, err
	}
	r := make([]byte, 3*n)
	if err := p.fetch(r); err != nil {
		return nil, err
	}
	return words(start, r)
}

// alive refuses what a bus without a part on it reads.
func alive(r []byte) error {
	for _, b := range r {
		if b != r[0] || b != 0x00 && b != 0xff {
			return nil
		}
	}
	return fmt.Errorf("reads only 0x%02x (is it still wired?)", r[0])
}
