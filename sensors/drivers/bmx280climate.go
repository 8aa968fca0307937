package drivers

import "encoding/binary"

// bmxCalibration has the calibration of one part, which Bosch stored in it. The names are those
// of the datasheet without dig_ (table 16; BMP280: table 17). It has 18 fields because the
// table has 18 rows, so that the formulas can be compared with section 8.1 line by line.
type bmxCalibration struct {
	// of the temperature
	t1, t2, t3 float64
	// of the pressure
	p1, p2, p3, p4, p5, p6, p7, p8, p9 float64
	// of the humidity; 0 for a BMP280
	h1, h2, h3, h4, h5, h6 float64
}

// bmxClimate is one measurement in %, °C and hPa. A BMP280 has no humidity.
type bmxClimate struct{ humidity, temperature, pressure float64 }

// bmxCalibrationOf decodes the registers 0x88 to 0xA1 (tp) and 0xE1 to 0xE7 (h) of a BME280, or
// 0x88 to 0x9F of a BMP280, without h. All values are signed except T1, P1, H1 and H3. H4 and
// H5 have 12 bits each and share 0xE5.
func bmxCalibrationOf(tp, h []byte) bmxCalibration {
	unsigned := func(at int) float64 { return float64(binary.LittleEndian.Uint16(tp[at:])) }
	signed := func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) }
	c := bmxCalibration{
		t1: unsigned(0), t2: signed(tp[2:]), t3: signed(tp[4:]),
		p1: unsigned(6), p2: signed(tp[8:]), p3: signed(tp[10:]),
		p4: signed(tp[12:]), p5: signed(tp[14:]), p6: signed(tp[16:]),
		p7: signed(tp[18:]), p8: signed(tp[20:]), p9: signed(tp[22:]),
	}
	if len(h) != 0 {
		c.h1, c.h2, c.h3 = float64(tp[25]), signed(h), float64(h[2])
		c.h4 = float64(int(int8(h[3]))<<4 | int(h[4]&0x0f))
		c.h5 = float64(int(int8(h[5]))<<4 | int(h[4]>>4))
		c.h6 = float64(int8(h[6]))
	}
	return c
}

// climate computes a measurement from the data registers, in floating point
// (8.1; the BMP280's 8.1): pressure and temperature of 20 bits, humidity of 16.
func (c *bmxCalibration) climate(data []byte) (m bmxClimate) {
	raw20 := func(b []byte) float64 { return float64(int(b[0])<<12 | int(b[1])<<4 | int(b[2])>>4) }
	fine := c.fine(raw20(data[3:]))
	m.temperature = fine / 5120
	m.pressure = c.pascal(raw20(data), fine) / 100
	if len(data) == 8 {
		m.humidity = c.percent(float64(binary.BigEndian.Uint16(data[6:])), fine)
	}
	return m
}

// fine returns the temperature in 1/5120 °C (t_fine), which the other formulas need, too.
func (c *bmxCalibration) fine(raw float64) float64 {
	square := raw/131072 - c.t1/8192
	return (raw/16384-c.t1/1024)*c.t2 + square*square*c.t3
}

// pascal returns the pressure in Pa. It is 0 if the calibration would cause a division by zero.
func (c *bmxCalibration) pascal(raw, fine float64) float64 {
	x := fine/2 - 64000
	y := (x*x*c.p6/32768+x*c.p5*2)/4 + c.p4*65536
	x = (1 + (c.p3*x*x/524288+c.p2*x)/524288/32768) * c.p1
	if x == 0 {
		return 0
	}
	p := (1048576 - raw - y/4096) * 6250 / x
	return p + (c.p9*p*p/2147483648+p*c.p8/32768+c.p7)/16
}

// percent returns the relative humidity in %, limited to 0 to 100 as in the datasheet.
func (c *bmxCalibration) percent(raw, fine float64) float64 {
	x := fine - 76800
	x = (raw - (c.h4*64 + c.h5/16384*x)) *
		(c.h2 / 65536 * (1 + c.h6/67108864*x*(1+c.h3/67108864*x)))
	x *= 1 - c.h1*x/524288
	return min(max(x, 0), 100)
}
