package drivers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/modbus"
)

// modbusOptions are the options of kind modbus: one instrument. Any number of instruments can share
// a serial line or a gateway.
type modbusOptions struct {
	// a serial line, for Modbus RTU: /dev/ttyUSB0, or a name below /dev/serial/by-id, which
	// stays the same
	Device string `yaml:"device"`
	// how the line is set: rate, data bits, parity (N, E, O) and stop bits
	Serial string `yaml:"serial"`
	// instead of device, for Modbus TCP: 192.168.1.20, or meter.lan:1502 with a port
	Host string `yaml:"host"`
	// the instrument's address on the line or behind the host, 1 to 247; by TCP 0 to 255
	UnitID int `yaml:"unit_id"`
	// how long an answer may take
	Timeout time.Duration `yaml:"timeout"`
	// what is read, by the names of the quantities: {energy: {address: 342, table: input, type:
	// float32, unit: kWh, class: energy, total: true}}; keys address, table, type, order, unit,
	// class, states, total
	Registers modbusRegisters `yaml:"registers"`
}

// modbusRegisters are the registers by the names of their quantities.
type modbusRegisters map[string]modbusRegister

// A modbusRegister says where one quantity is, and how to decode it.
type modbusRegister struct {
	Address *int         `yaml:"address"` // as on the wire, from 0; nil: missing
	Table   modbus.Table `yaml:"table"`   // default: holding
	Type    modbus.Type  `yaml:"type"`    // default: uint16
	Order   modbus.Order `yaml:"order"`   // default: big
	Unit    string       `yaml:"unit"`
	Class   string       `yaml:"class"`
	States  []string     `yaml:"states"` // the words for the values 0, 1, ...
	Total   bool         `yaml:"total"`  // a meter: the value never decreases
}

// Bounds of the options.
const (
	maxUnitID        = 247                   // on a serial line; higher ones are reserved
	minModbusTimeout = 50 * time.Millisecond // one frame at 1200 baud takes about as long
	// maxModbusTimeout leaves time for a second request within one call of Next.
	maxModbusTimeout = 3 * time.Second
	maxRegisters     = 64 // of one sensor: each needs its own request
)

// newModbus has the usual factory settings of instruments.
func newModbus() Options {
	return &modbusOptions{Serial: "9600 8N1", UnitID: 1, Timeout: time.Second}
}

// Pace is ten seconds: a meter computes a new mean about every second, and a line at 9600 baud can
// read twenty values per second.
func (o *modbusOptions) Pace() time.Duration { return 10 * time.Second }

// Check returns what is wrong with the bus and the registers. It does not look for the device,
// because `holdfast check` may run on another machine.
func (o *modbusOptions) Check() []Problem {
	problems := o.checkBus()
	if o.Timeout < minModbusTimeout || o.Timeout > maxModbusTimeout {
		problems = append(problems, problem("timeout", "%v is not between %v and %v", o.Timeout, minModbusTimeout,
			maxModbusTimeout))
	}
	if len(o.Registers) == 0 || len(o.Registers) > maxRegisters {
		problems = append(problems, problem("registers", "has %d registers, and needs 1 to %d: write e.g. "+
			"registers: {voltage: {address: 0, table: input, type: float32, unit: V}}", len(o.Registers), maxRegisters))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Registers)) {
		problems = append(problems, o.Registers[name].check(name)...)
	}
	return problems
}

// checkBus checks the settings of the bus.
func (o *modbusOptions) checkBus() (problems []Problem) {
	low, high := 1, maxUnitID
	switch {
	case (o.Device == "") == (o.Host == ""):
		return []Problem{problem("", "needs one of device and host: device: /dev/ttyUSB0 or host: 192.168.1.20")}
	case o.Host != "":
		low, high = 0, 255
		if _, err := modbus.ParseHost(o.Host); err != nil {
			problems = append(problems, problem("host", "%v", err))
		}
	case !filepath.IsAbs(o.Device):
		problems = append(problems, problem("device", "%q is not an absolute path: write e.g. /dev/ttyUSB0", o.Device))
	}
	if _, err := modbus.ParseLine(o.Serial); err != nil {
		problems = append(problems, problem("serial", "%v", err))
	}
	if o.UnitID < low || o.UnitID > high {
		problems = append(problems, problem("unit_id", "%d is not between %d and %d", o.UnitID, low, high))
	}
	return problems
}

// A registerCheck collects the problems of one register.
type registerCheck struct {
	modbusRegister
	at       string          // the key where it is written
	reg      modbus.Register // with the defaults
	problems []Problem
}

// check checks one register, under the key where it is written.
func (r modbusRegister) check(name string) []Problem {
	c := &registerCheck{modbusRegister: r, at: "registers." + name, reg: r.register()}
	if !sensors.IsName(name) {
		c.wrong("", "%q is empty or has other characters than A-Z a-z 0-9 _ -", name)
	}
	c.checkAddress()
	c.checkType()
	c.checkStates()
	return c.problems
}

// wrong records a problem of a key of the register, such as ".address"; "" is the register itself.
func (c *registerCheck) wrong(key, format string, args ...any) {
	c.problems = append(c.problems, problem(c.at+key, format, args...))
}

func (c *registerCheck) checkAddress() {
	switch {
	case c.Address == nil:
		c.wrong("", "needs an address, from 0: the manual's 40001 or 30001 is address: 0")
	case *c.Address < 0 || *c.Address > math.MaxUint16:
		c.wrong(".address", "%d is not between 0 and 65535: the manual's 40001 or 30001 is address 0", *c.Address)
	case *c.Address == math.MaxUint16 && c.reg.Type.Registers() > 1:
		c.wrong(".address", "%d is the last one, and %s has two registers", *c.Address, c.reg.Type)
	}
}

func (c *registerCheck) checkType() {
	if !slices.Contains(modbus.Tables, c.reg.Table) {
		c.wrong(".table", "%q is not one of %v", c.Table, modbus.Tables)
	}
	if !slices.Contains(modbus.Types, c.reg.Type) {
		c.wrong(".type", "%q is not one of %v", c.Type, modbus.Types)
	}
	if !slices.Contains(modbus.Orders, c.reg.Order) {
		c.wrong(".order", "%q is not one of %v", c.Order, modbus.Orders)
	}
	bits := c.reg.Table.IsBits()
	if bits && c.Type != "" {
		c.wrong(".type", "a value of table %s has none, it is 0 or 1: leave it out", c.Table)
	}
	if c.Order != "" && (bits || c.reg.Type.Registers() == 1) {
		c.wrong(".order", "is for a value in two registers: leave it out")
	}
}

func (c *registerCheck) checkStates() {
	if text := statesProblem(c.States); text != "" {
		c.wrong(".states", "%s", text)
	}
	if c.States != nil && (c.Unit != "" || c.Total || c.reg.Type == modbus.Float32) {
		c.wrong(".states", "are the words of whole numbers: leave out unit, total and type: float32")
	}
}

// register returns the register with the defaults filled in.
func (r modbusRegister) register() modbus.Register {
	reg := modbus.Register{
		Table: cmp.Or(r.Table, modbus.Holding),
		Type:  cmp.Or(r.Type, modbus.Uint16),
		Order: cmp.Or(r.Order, modbus.Big),
	}
	if r.Address != nil {
		reg.Address = uint16(*r.Address)
	}
	return reg
}

// Quantities are ordered by name, because a mapping in YAML has no order.
func (o *modbusOptions) Quantities() (all []sensors.Quantity) {
	for _, name := range slices.Sorted(maps.Keys(o.Registers)) {
		r := o.Registers[name]
		all = append(all, sensors.Quantity{Name: name, Unit: r.Unit, Class: r.Class, States: r.States, Total: r.Total})
	}
	return all
}

// settings returns the settings of the bus. Check must have found nothing wrong.
func (o *modbusOptions) settings() modbus.Settings {
	s := modbus.Settings{Timeout: o.Timeout}
	if o.Device != "" {
		s.Device = filepath.Clean(o.Device)
		s.Line, _ = modbus.ParseLine(o.Serial)
		return s
	}
	s.Host, _ = modbus.ParseHost(o.Host)
	return s
}

// Shares returns the line or the host, and its settings, which all its instruments must share.
func (o *modbusOptions) Shares() (bus, settings string) {
	s := o.settings()
	return s.Name(), s.String()
}

// Open acquires the bus, which connects at the first request.
func (o *modbusOptions) Open(_ context.Context, h *Hardware) (sensors.Sensor, error) {
	bus, err := h.Modbus.Acquire(o.settings())
	if err != nil {
		return nil, err
	}
	s := &modbusSensor{bus: bus, unit: byte(o.UnitID)}
	for _, q := range o.Quantities() {
		s.names = append(s.names, q.Name)
		s.registers = append(s.registers, o.Registers[q.Name].register())
	}
	return s, nil
}

// modbusSensor is one instrument.
type modbusSensor struct {
	bus       *modbus.Bus
	unit      byte
	names     []string          // of the quantities
	registers []modbus.Register // of each
}

// Next reads each register. If the unit refuses a register, or its value is not a number, only its
// quantity has an error. If the unit does not answer, Next returns at once.
func (s *modbusSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var all []sensors.Sample
	for i, r := range s.registers {
		v, err := s.bus.Read(ctx, s.unit, r)
		var alone *modbus.RegisterError
		if err != nil && !errors.As(err, &alone) {
			return nil, err
		}
		all = append(all, sensors.Sample{Quantity: s.names[i], Value: v, Err: err})
	}
	return all, nil
}

// Close releases the bus.
func (s *modbusSensor) Close() error { return s.bus.Release() }

// statesProblem says what is wrong with the names of states; empty: nothing.
func statesProblem(states []string) string {
	if states == nil || len(states) > 1 && !slices.Contains(states, "") &&
		len(slices.Compact(slices.Sorted(slices.Values(states)))) == len(states) {
		return ""
	}
	return fmt.Sprintf("%q is too short, or has an empty one or one twice: write e.g. [closed, open]", states)
}
