package modbus

import (
	"fmt"
	"math"
	"strconv"

	"github.com/simonvetter/modbus"
)

// A Table is one of the four tables of a unit.
type Table string

// The tables, by their names in the specification.
const (
	Holding  Table = "holding"  // registers of 16 bits that can be written
	Input    Table = "input"    // registers of 16 bits
	Coil     Table = "coil"     // bits that can be written
	Discrete Table = "discrete" // bits
)

// Tables are all tables.
var Tables = []Table{Holding, Input, Coil, Discrete}

// IsBits reports whether the table has bits, which have no type.
func (t Table) IsBits() bool { return t == Coil || t == Discrete }

// A Type says what one or two registers mean.
type Type string

// The types.
const (
	Int16   Type = "int16"
	Uint16  Type = "uint16"
	Int32   Type = "int32"
	Uint32  Type = "uint32"
	Float32 Type = "float32" // IEEE 754
)

// Types are all types.
var Types = []Type{Int16, Uint16, Int32, Uint32, Float32}

// Registers returns how many registers a value has.
func (t Type) Registers() uint16 {
	if t == Int16 || t == Uint16 {
		return 1
	}
	return 2
}

// An Order says which register of a value comes first. The bytes of a register are always
// sent high byte first.
type Order string

// The orders.
const (
	Big    Order = "big"    // the high word first: what most instruments do
	Little Order = "little" // the low word first
)

// Orders are both orders.
var Orders = []Order{Big, Little}

// read reads the registers, or the bit, which it returns as one word of 0 or 1.
func (r Register) read(c *modbus.ModbusClient) ([]uint16, error) {
	var bit bool
	var err error
	switch r.Table {
	case Coil:
		bit, err = c.ReadCoil(r.Address)
	case Discrete:
		bit, err = c.ReadDiscreteInput(r.Address)
	case Input:
		return c.ReadRegisters(r.Address, r.Type.Registers(), modbus.INPUT_REGISTER)
	default:
		return c.ReadRegisters(r.Address, r.Type.Registers(), modbus.HOLDING_REGISTER)
	}
	if bit {
		return []uint16{1}, err
	}
	return []uint16{0}, err
}

// notNumber is the text of the error for a float that is not a number.
const notNumber = "the value is not a number: the instrument does not measure this, or the value has " +
	"another type, order or address"

// value decodes the words. ok is false for a float that is not a number.
func (r Register) value(words []uint16) (v float64, ok bool) {
	if len(words) == 2 && r.Order == Little {
		words = []uint16{words[1], words[0]}
	}
	var long uint32 // of a value in two registers
	for _, w := range words {
		long = long<<16 | uint32(w)
	}
	switch {
	case r.Table.IsBits() || r.Type == Uint16 || r.Type == Uint32:
		return float64(long), true
	case r.Type == Int16:
		return float64(int16(long)), true
	case r.Type == Int32:
		return float64(int32(long)), true
	}
	v = float64(math.Float32frombits(long))
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	// The shortest decimal number with these 32 bits: 230.2, not 230.1999969.
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', -1, 32), 64)
	return v, true
}

// String returns the register for messages: "holding register 10", "coil 3".
func (r Register) String() string {
	switch r.Table {
	case Coil:
		return fmt.Sprintf("coil %d", r.Address)
	case Discrete:
		return fmt.Sprintf("discrete input %d", r.Address)
	}
	return fmt.Sprintf("%s register %d", r.Table, r.Address)
}
