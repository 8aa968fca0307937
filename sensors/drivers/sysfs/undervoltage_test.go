package sysfs

import "testing"

func TestUnderVoltageNowAndSinceBoot(t *testing.T) {
	const firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
	const hwmon = "sys/class/hwmon/hwmon2/in0_lcrit_alarm"
	for name, c := range map[string]struct {
		bits, alarm string
		history     bool
		now, seen   bool
	}{
		"well":                   {"0", "0", true, false, false},
		"now":                    {"50005", "1", true, true, true},
		"now, by hwmon alone":    {"0", "1", false, true, true},
		"before":                 {"50000", "0", true, false, true},
		"before, not asked for":  {"50000", "0", false, false, false},
		"of a kernel without it": {"", "0", true, false, false},
	} {
		files := pi5Files()
		files[firmware], files[hwmon] = c.bits, c.alarm
		if c.bits == "" {
			delete(files, firmware)
		}
		now, seen, err := UnderVoltage(sysTree(t, files), c.history)
		if now != c.now || seen != c.seen || err != nil {
			t.Errorf("%s: now %v, seen %v, %v", name, now, seen, err)
		}
	}
}
