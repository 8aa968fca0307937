package drivers

import "fmt"

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

// alive refuses what a bus without a part on it reads.
func alive(r []byte) error {
	for _, b := range r {
		if b != r[0] || b != 0x00 && b != 0xff {
			return nil
		}
	}
	return fmt.Errorf("reads only 0x%02x (is it still wired?)", r[0])
}
