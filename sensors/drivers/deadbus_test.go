package drivers

import (
	"fmt"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// noBus are the kinds that do not speak to a part over I2C, and why no dead bus
// can make a value of theirs, or where that is claimed.
var noBus = map[string]string{
	"pcf8574":   "a level is all that a pin has, and 0xff is eight of them; for 0x00 TestPCF8574TellsAllPinsLow...",
	"ds2438":    "TestDS2438OnALowWireIsAnError",
	"max31865":  "TestMAX31865WithoutAThermometerIsAnError",
	"contact":   "a level is all that a line has: a cut cable is what supervised loops are for",
	"pulse":     "a line that does not change makes no pulses",
	"dht":       "TestLineThatIsHeldLowIsAnError; all ones have a wrong checksum",
	"w1":        "TestCorruptReadsHaveAClearError, TestDS18S20WithoutACountIsAnError",
	"hwmon":     "TestImpossibleKernelValuesAreErrors: the kernel's driver has the bus",
	"iio":       "TestImpossibleKernelValuesAreErrors: the kernel's driver has the bus",
	"thermal":   "the kernel has the bus; TestZoneAboveSiliconLimitsIsAnError",
	"pi":        "the kernel has the bus",
	"lines":     "another program has the bus",
	"modbus":    "frames have a checksum; TestModbusErrorsAreExplained",
	"simulated": "nothing is measured",
	"derived":   "its sources have the bus; TestFaultOfASourceIsAFaultOfTheDerivedStream",
}

// living are the other kinds with options that can be opened, and what their part
// sends for opening and one value; that of the hygrometers is in their own table.
func living() map[string]struct {
	o   Options
	ops []i2ctest.IO
} {
	type part = struct {
		o   Options
		ops []i2ctest.IO
	}
	ads1015 := newADS1015().(*ads1115Options)
	ads1015.Input = "A0"
	all := map[string]part{
		"ads1015":  {ads1015, adsOps(0xc383, 0x4000)},
		"ads1115":  {adsAt("A0"), adsOps(0xc383, 0x4000)},
		"bh1750":   {newBH1750(), bh1750Ops(0x83, 0x90)},
		"bme280":   {newBME280(), bmeOps(0x60, bmxRaw)},
		"bmp280":   {newBMP280(), bmpOps(0x58, bmxRaw[:6])},
		"bmp390":   {newBMP390(), bmp3Ops(0x60, bmp3Raw)},
		"ina219":   {newINA219(), ina219Ops(inaVolt(12), 10000, 10239)},
		"lm75":     {newLM75(), lm75Ops(0x08, 0x19, 0)},
		"mcp23017": {pinB3(), mcpOps(8, 8)},
		"mcp9808":  {newMCP9808(), mcp9808Ops(0xc1, 0x94)},
		"sgp30":    {newSGP30(), sgp30Ops(sgp30Fixed)},
		"sgp40":    {newSGP40(), sgp40Ops(0xd400, 0x75, 0x30, 0x91)},
		"scd4x":    {newSCD4x(), scd4xOps(scd4xReply)},
		"tmp102":   {newTMP102(), tmp102Ops(0x19, 0)},
		"veml7700": {newVEML7700(), vemlOps([2]uint16{vemlMiddleConfig, 1000})[:5]},
	}
	for kind, h := range hygrometers {
		all[kind] = part{h.new(), h.ops}
	}
	return all
}

// TestDeadBusGivesNoValue checks for every kind that a bus on which all bytes read 0x00, or 0xff, is an
// error, at any time: before the part is opened, or after any transfer of Open and of a measurement.
func TestDeadBusGivesNoValue(t *testing.T) {
	parts := living()
	for _, kind := range Kinds() {
		p, ok := parts[kind]
		if _, none := noBus[kind]; none == ok {
			t.Errorf("%s: has to be in living or in noBus, with the reason", kind)
		}
		for alive := range p.ops {
			for _, b := range []byte{0x00, 0xff} {
				t.Run(fmt.Sprintf("%s reads 0x%02x after %d", kind, b, alive), func(t *testing.T) {
					deadAfter(t, p.o, p.ops, alive, b, 8*time.Second)
				})
			}
		}
	}
}
