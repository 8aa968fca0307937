package scan

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
)

func TestKindsAtContainsEveryKind(t *testing.T) {
	for _, kind := range drivers.Kinds() {
		for _, addr := range drivers.Addresses(kind) {
			if addr < firstAddress || addr > lastAddress {
				t.Errorf("%s: 0x%02x is no address of a part", kind, addr)
			}
			if !slices.Contains(kindsAt(addr), kind) {
				t.Errorf("%s is not likely at 0x%02x", kind, addr)
			}
		}
	}
	if len(drivers.Addresses("aht20")) != 1 || drivers.Addresses("contact") != nil ||
		drivers.Addresses("nothing") != nil {
		t.Error(drivers.Addresses("aht20"), drivers.Addresses("contact"), drivers.Addresses("nothing"))
	}
	if kinds := kindsAt(0x38); len(kinds) == 0 || kinds[0] != "aht20" {
		t.Error(kinds)
	}
	if kinds := kindsAt(0x29); kinds != nil {
		t.Error(kinds)
	}
}

// A kind with this default address comes before others, then one with fewer addresses before one with
// more.
func TestLikeliestKindIsFirst(t *testing.T) {
	for addr := uint16(firstAddress); addr <= lastAddress; addr++ {
		rank := func(kind string) int {
			all := drivers.Addresses(kind)
			if all[0] != addr {
				return 1000 + len(all)
			}
			return len(all)
		}
		kinds := kindsAt(addr)
		if !slices.IsSortedFunc(kinds, func(a, b string) int { return rank(a) - rank(b) }) {
			t.Errorf("0x%02x: %v", addr, kinds)
		}
	}
}

// registers is a part's bus with registers of one or two bytes: each reads as
// its value from its first byte on. What is read without a number is register 0.
func registers(values map[byte]string) *i2cfake.Bus {
	return &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		var reg byte
		if len(w) > 0 {
			reg = w[0]
		}
		copy(r, values[reg])
		return nil
	}}
}

func TestIdentityRegisterReducesTheKinds(t *testing.T) {
	climate := []string{"bme280", "bmp280", "bmp390", "other"}
	for _, c := range []struct {
		addr uint16
		regs map[byte]string
		says string
		want string
	}{
		{0x76, map[byte]string{0xd0: "\x60"}, "BME280 (chip id 0x60)", "bme280"},
		{0x77, map[byte]string{0xd0: "\x58"}, "BMP280 (chip id 0x58)", "bmp280"},
		{0x77, map[byte]string{0xd0: "\x61"}, "BME680 or BME688 (chip id 0x61)", ""},
		{0x77, map[byte]string{0xd0: "\x55"}, "BMP085 or BMP180 (chip id 0x55)", ""},
		{0x77, map[byte]string{0xd0: "\x00"}, "", "other"},
		{0x76, map[byte]string{0xd0: "\x00", 0x00: "\x60"}, "BMP390 (chip id 0x60)", "bmp390"},
		{0x77, map[byte]string{0xd0: "\x00", 0x00: "\x50"}, "BMP388 (chip id 0x50)", "bmp390"},
		{0x77, map[byte]string{0xd0: "\xff"}, "", "other"},
		{0x77, map[byte]string{0xd0: "\xd0"}, "a multiplexer?", ""},
		{0x18, map[byte]string{6: "\x00\x54", 7: "\x04\x00"}, "MCP9808 (manufacturer 0x0054, device 0x04)", "mcp9808"},
		{0x18, map[byte]string{6: "\x00\x54", 7: "\x03\x00"}, "", "bme280 bmp280 other"},
		{0x1f, map[byte]string{6: "\xff\xff", 7: "\xff\xff"}, "", "bme280 bmp280 other"},
		{0x38, map[byte]string{0xd0: "\x60"}, "", "bme280 bmp280 mcp9808 other"}, // not asked
	} {
		p := Part{Address: c.addr, Kinds: append(slices.Clone(climate[:2]), "mcp9808", "other")}
		if c.addr > 0x70 {
			p.Kinds = slices.Clone(climate)
		}
		identify(registers(c.regs), &p)
		if got := strings.Join(p.Kinds, " "); p.Says != c.says || got != c.want {
			t.Errorf("0x%02x %q: %q, %q; want %q, %q", c.addr, c.regs, p.Says, got, c.says, c.want)
		}
	}
}

func TestUnknownBoschPartIsNamed(t *testing.T) {
	p := Part{Address: 0x77, Kinds: []string{"bme280"}}
	identify(registers(map[byte]string{0xd0: "\x58"}), &p)
	if len(p.Kinds) > 0 || p.Says != "BMP280 (chip id 0x58)" {
		t.Errorf("%+v", p)
	}
}

func TestUnreadablePartKeepsItsKinds(t *testing.T) {
	for _, addr := range []uint16{0x18, 0x76} {
		for n := range 2 {
			p := Part{Address: addr, Kinds: []string{"bme280", "mcp9808"}}
			identify(i2cfake.FailAt(i2cfake.Reading(0x60), n, syscall.EREMOTEIO), &p)
			if len(p.Kinds) != 2 || p.Says != "" {
				t.Errorf("0x%02x, transfer %d: %+v", addr, n, p)
			}
		}
	}
}

// A TCA9548A has one register, the channels that are switched on.
func TestMultiplexerKeepsItsChannels(t *testing.T) {
	channels := byte(0x05)
	mux := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		for _, b := range w {
			channels = b
		}
		for i := range r {
			r[i] = channels
		}
		return nil
	}}
	p := Part{Address: 0x77, Kinds: []string{"bme280"}}
	if identify(mux, &p); channels != 0x05 || len(p.Kinds) != 0 {
		t.Errorf("channels 0x%02x, %+v", channels, p)
	}
}

// For any content of the registers, the kinds are those of the address or fewer, and there are only a
// few transfers.
func FuzzIdentity(f *testing.F) {
	f.Add(byte(0x76), []byte{0x60})
	f.Add(byte(0x77), []byte{0xd0, 0xd0})
	f.Add(byte(0x18), []byte{0x00, 0x54, 0x04, 0x00})
	f.Fuzz(func(t *testing.T, addr byte, answers []byte) {
		bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, _, r []byte) error {
			n := copy(r, answers)
			answers = answers[n:]
			return nil
		}}
		likely := kindsAt(uint16(addr))
		p := Part{Address: uint16(addr), Kinds: slices.Clone(likely)}
		identify(bus, &p)
		for _, kind := range p.Kinds {
			if !slices.Contains(likely, kind) {
				t.Errorf("0x%02x: %v is not among %v", addr, kind, likely)
			}
		}
		if bus.Count > 3 {
			t.Errorf("%d transfers", bus.Count)
		}
	})
}
