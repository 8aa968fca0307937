package scan

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/warthog618/go-gpiocdev/uapi"
)

func lineInfoOf(name, holder string, flags uapi.LineFlagV2) gpio.LineInfo {
	return gpio.LineInfo{Name: name, Consumer: holder, Flags: flags}
}

func TestScanLineNamesItsPin(t *testing.T) {
	board := Chip{Name: "gpiochip0", SoC: true}
	expander := Chip{Name: "gpiochip2"}
	for _, c := range []struct {
		chip   Chip
		offset int
		info   gpio.LineInfo
		want   Line
	}{
		{board, 17, lineInfoOf("GPIO17", "holdfast@812",
			uapi.LineFlagV2Used|uapi.LineFlagV2Input|uapi.LineFlagV2BiasPullUp),
			Line{Pin: "GPIO17", Header: 11, Name: "GPIO17", Used: true, Holder: "holdfast@812", Bias: "pull-up"}},
		{board, 2, lineInfoOf("SDA1", "", uapi.LineFlagV2Input), Line{Pin: "GPIO2", Header: 3, Name: "SDA1"}},
		{board, 42, lineInfoOf("STATUS_LED", "ACT",
			uapi.LineFlagV2Used|uapi.LineFlagV2Output|uapi.LineFlagV2BiasDisabled),
			Line{Pin: "GPIO42", Name: "STATUS_LED", Used: true, Holder: "ACT", Output: true, Bias: "no pull"}},
		{board, 54, lineInfoOf("", "", 0), Line{Pin: "gpiochip0/54"}},
		{expander, 17, lineInfoOf("\x1b[2JP1", "", uapi.LineFlagV2BiasPullDown),
			Line{Pin: "gpiochip2/17", Name: "[2JP1", Bias: "pull-down"}},
	} {
		if got := c.chip.line(c.offset, c.info); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestUnreadableChipIsNamed(t *testing.T) {
	h := &drivers.Hardware{Host: host.Host{Dev: t.TempDir()}}
	if _, err := GPIO(h); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--device") {
		t.Error(err)
	}
	plant(t, filepath.Join(h.Dev, "gpiochip0"), "")
	plant(t, filepath.Join(h.Dev, "gpiochip1"), "")
	chips, err := GPIO(h)
	if chips != nil || !errors.Is(err, syscall.ENOTTY) || strings.Count(err.Error(), "is it a GPIO chip?") != 2 {
		t.Error(chips, err)
	}
}

// Names of lines cannot control the terminal.
func FuzzLineIsPrintable(f *testing.F) {
	f.Add([]byte("GPIO17\x00junk"), 17)
	f.Add([]byte("\x1b]0;x\x07\n\r\xff\xfe"), 0)
	f.Fuzz(func(t *testing.T, raw []byte, offset int) {
		var info uapi.LineInfoV2
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), raw)
		l := Chip{Name: "gpiochip0", SoC: offset%2 == 0}.line(offset&0xffff, gpio.LineInfo{
			Name: uapi.BytesToString(info.Name[:]), Consumer: uapi.BytesToString(info.Consumer[:]), Flags: info.Flags,
		})
		for _, text := range []string{l.Pin, l.Name, l.Holder, l.Bias} {
			if host.Printable(text) != text {
				t.Errorf("%q", text)
			}
		}
		var p gpio.Pin
		if err := p.UnmarshalText([]byte(l.Pin)); err != nil {
			t.Error(err)
		}
	})
}
