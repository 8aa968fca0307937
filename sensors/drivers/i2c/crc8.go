package i2c

import (
	"encoding/binary"
	"fmt"
	"time"
)

// CRC8 returns the checksum that most parts use: CRC-8 with the polynomial x^8+x^5+x^4+1 (0x31),
// highest bit first. The initial value start is 0xff for Sensirion's and Aosong's parts
// (SHT3x-DIS version 7, 4.12), and 0x00 for the HTU21D.
func CRC8(start byte, data []byte) byte {
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

// DecodeWords decodes words of 16 bits, high byte first, each followed by its CRC8 with the
// initial value start. This is the format of Sensirion's parts and their compatibles. It returns
// an error for a wrong checksum, and for data of a dead bus.
func DecodeWords(start byte, r []byte) ([]uint16, error) {
	if err := CheckAlive(r); err != nil {
		return nil, err
	}
	var all []uint16
	for ; len(r) >= 3; r = r[3:] {
		if want := CRC8(start, r[:2]); r[2] != want {
			return nil, fmt.Errorf("wrong checksum 0x%02x, want 0x%02x", r[2], want)
		}
		all = append(all, binary.BigEndian.Uint16(r))
	}
	return all, nil
}

// EncodeWords is the inverse of [DecodeWords].
func EncodeWords(start byte, all ...uint16) (w []byte) {
	for _, word := range all {
		b := binary.BigEndian.AppendUint16(nil, word)
		w = append(append(w, b...), CRC8(start, b))
	}
	return w
}

// Query sends a command, waits, and reads n words whose checksums have the initial value start.
func (p *Part) Query(wait time.Duration, start byte, n int, command ...byte) ([]uint16, error) {
	if err := p.Command(command...); err != nil {
		return nil, err
	}
	if err := p.Pause(wait); err != nil {
		return nil, err
	}
	r := make([]byte, 3*n)
	if err := p.Receive(r); err != nil {
		return nil, err
	}
	return DecodeWords(start, r)
}

// CheckAlive returns an error for the data of a dead bus: all bytes 0x00 if SDA is held low, or
// all 0xff if only the pull-up drives it.
func CheckAlive(r []byte) error {
	for _, b := range r {
		if b != r[0] || b != 0x00 && b != 0xff {
			return nil
		}
	}
	return fmt.Errorf("reads only 0x%02x (is it still wired?)", r[0])
}
