package drivers

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/modbus/modbusfake"
)

func TestModbusOptionsSayWhatIsWrong(t *testing.T) {
	good := func() *modbusOptions {
		o := newModbus().(*modbusOptions)
		o.Device = "/dev/ttyUSB0"
		o.Registers = modbusRegisters{"volt": {Address: new(0)}}
		return o
	}
	if problems := good().Check(); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
	one := func(r modbusRegister) func(*modbusOptions) {
		return func(o *modbusOptions) { o.Registers = modbusRegisters{"volt": r} }
	}
	for want, spoil := range map[string]func(*modbusOptions){
		": needs one of device and host": func(o *modbusOptions) { o.Host = "meter" },
		"device: \"ttyUSB0\" is not":     func(o *modbusOptions) { o.Device = "ttyUSB0" },
		"host: \"a b\" is not a host":    func(o *modbusOptions) { o.Device, o.Host = "", "a b" },
		"serial: \"8N1\" is not":         func(o *modbusOptions) { o.Serial = "8N1" },
		"unit_id: 248 is not between 1":  func(o *modbusOptions) { o.UnitID = 248 },
		"unit_id: 256 is not between 0":  func(o *modbusOptions) { o.Device, o.Host, o.UnitID = "", "meter", 256 },
		"timeout: 1m0s is not between":   func(o *modbusOptions) { o.Timeout = time.Minute },
		"registers: has 0 registers":     func(o *modbusOptions) { o.Registers = nil },
		"registers.a b: \"a b\" is": func(o *modbusOptions) {
			o.Registers = modbusRegisters{"a b": {Address: new(0)}}
		},
		"registers.volt: needs an address":              one(modbusRegister{}),
		"registers.volt.address: 65536 is not between":  one(modbusRegister{Address: new(65536)}),
		"registers.volt.address: -1 is not between":     one(modbusRegister{Address: new(-1)}),
		"registers.volt.address: 65535 is the last one": one(modbusRegister{Address: new(65535), Type: "int32"}),
		"registers.volt.table: \"inputs\" is not one of [holding input coil discrete]": one(
			modbusRegister{Address: new(0), Table: "inputs"}),
		"registers.volt.type: \"float\" is not one of [int16 uint16 int32 uint32 float32]": one(
			modbusRegister{Address: new(0), Type: "float"}),
		"registers.volt.order: \"swapped\" is not one of [big little]": one(
			modbusRegister{Address: new(0), Type: "int32", Order: "swapped"}),
		"registers.volt.type: a value of table coil has none": one(
			modbusRegister{Address: new(0), Table: "coil", Type: "int16"}),
		"registers.volt.order: is for a value":   one(modbusRegister{Address: new(0), Order: "little"}),
		"registers.volt.states: [\"on\"] is too": one(modbusRegister{Address: new(0), States: []string{"on"}}),
		"registers.volt.states: are the words": one(
			modbusRegister{Address: new(0), States: []string{"off", "on"}, Unit: "V"}),
	} {
		o := good()
		spoil(o)
		got := ""
		for _, p := range o.Check() {
			got += p.Key + ": " + p.Text + "\n"
		}
		if !strings.Contains("\n"+got, "\n"+want) || strings.Count(got, "\n") != 1 {
			t.Errorf("got %qwant %q", got, want)
		}
	}
}

// TestTwoInstrumentsShareALine: each has its own registers, one that is refused fails alone,
// and one instrument that is not there does not hold up the other.
func TestTwoInstrumentsShareALine(t *testing.T) {
	u := &modbusfake.Unit{ID: 7, Input: map[uint16]uint16{0: 0x4366, 1: 0x3334}, Coils: map[uint16]bool{3: true}}
	o := newModbus().(*modbusOptions)
	o.Device, o.Serial, o.UnitID, o.Timeout = u.Serial(t), "115200 8N1", 7, 3*time.Second
	o.Registers = modbusRegisters{
		"voltage": {Address: new(0), Table: "input", Type: "float32", Unit: "V", Class: "voltage"},
		"relay":   {Address: new(3), Table: "coil", States: []string{"off", "on"}},
		"power":   {Address: new(12), Table: "input"},
	}
	absent := *o
	absent.UnitID, absent.Timeout = 8, o.Timeout
	h := &Hardware{}
	meter, err := o.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	defer meter.Close()
	silent, err := absent.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "unit 8 does not answer in 3s") {
		t.Errorf("unit 8: %v", err)
	}
	samples, err := meter.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range samples {
		got = append(got, fmt.Sprintf("%s %.1f %v", s.Quantity, math.Round(s.Value*10)/10, s.Err != nil))
	}
	if want := []string{"power 0.0 true", "relay 1.0 false", "voltage 230.2 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestModbusBusHasItsNameAndSettings(t *testing.T) {
	o := newModbus().(*modbusOptions)
	o.Device = "/dev/serial/../ttyUSB0"
	if bus, settings := o.Shares(); bus != "/dev/ttyUSB0" || settings != "serial: 9600 8N1, timeout: 1s" {
		t.Errorf("%q %q", bus, settings)
	}
	o.Device, o.Host = "", "meter.lan"
	if bus, settings := o.Shares(); bus != "meter.lan:502" || settings != "timeout: 1s" {
		t.Errorf("%q %q", bus, settings)
	}
}
