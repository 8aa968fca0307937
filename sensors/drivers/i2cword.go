package drivers

// word reads a register of 16 bits, the high byte first.
func (p *part) word(reg byte) (uint16, error) {
	var r [2]byte
	err := p.register(reg, r[:])
	return uint16(r[0])<<8 | uint16(r[1]), err
}

// setWord writes a register of 16 bits, the high byte first.
func (p *part) setWord(reg byte, value uint16) error {
	return p.command(reg, byte(value>>8), byte(value))
}
