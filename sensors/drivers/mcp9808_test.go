package drivers

import (
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

func mcp9808Ops(temp ...byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x18, W: []byte{6}, R: []byte{0x00, 0x54}},
		{Addr: 0x18, W: []byte{7}, R: []byte{0x04, 0x00}},
		{Addr: 0x18, W: []byte{1, 0x02, 0x00}},
		{Addr: 0x18, W: []byte{8, 3}},
		{Addr: 0x18, W: []byte{1}, R: []byte{0x02, 0x00}},
		{Addr: 0x18, W: []byte{5}, R: temp},
		{Addr: 0x18, W: []byte{1}, R: []byte{0x02, 0x00}},
	}
}

// Datasheet DS25095, 5.1.3.1: T = upper*16 + lower/16, less 256 with the sign bit
// (0x10). 0xc194, with all that compares with the limits, is 1*16 + 0x94/16 = 25.25;
// 0x1e60 is 14*16 + 6 - 256 = -26; 0x1ff0 is 15*16 + 15 - 256 = -1; 0x07d0 is 125.
func TestMCP9808MeasuresAsItsDatasheetSays(t *testing.T) {
	for temp, want := range map[[2]byte]float64{
		{0xc1, 0x94}: 25.25, {0x1e, 0x60}: -26, {0x1f, 0xf0}: -1, {0x3f, 0xff}: -0.06,
		{0x00, 0x00}: 0, {0x07, 0xd0}: 125, {0x1d, 0x80}: -40,
	} {
		measures(t, newMCP9808(), mcp9808Ops(temp[:]...), "temperature", want)
	}
}

func TestMCP9808WithOtherIDsIsRejected(t *testing.T) {
	at := func(n int, r ...byte) []i2ctest.IO {
		ops := mcp9808Ops(0xc1, 0x94)
		ops[n].R = r
		return ops
	}
	for want, ops := range map[string][]i2ctest.IO{
		"this is not an MCP9808: its ids are 0x0055 0x0400": at(0, 0x00, 0x55),
		"this is not an MCP9808: its ids are 0x0054 0x0300": at(1, 0x03, 0x00),
		"settings read 0x0000, not 0x0200":                  at(6, 0x00, 0x00),
		"temperature -128 °C is beyond":                     at(5, 0x18, 0x00),
	} {
		refuses(t, newMCP9808(), ops, "i2c-1 0x18: "+want)
	}
}

func TestMCP9808FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newMCP9808(), mcp9808Ops(0xc1, 0x94), "i2c-1 0x18")
	survivesDeadBus(t, newMCP9808(), mcp9808Ops(0xc1, 0x94), time.Second)
}

func FuzzMCP9808(f *testing.F) {
	f.Add([]byte{2, 0}, []byte{0x1e, 0x60})
	f.Add([]byte{0xff, 0xff}, []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, config, temp []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := answers(map[byte][]byte{1: config, 5: temp, 6: {0x00, 0x54}, 7: {0x04, 0x00}})
			within(t, newMCP9808(), bus, limits{-40, 125})
		})
	})
}
