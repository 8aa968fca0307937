package guest

import (
	"strings"
	"testing"
)

// The tree of QEMU 7.2 as dtc prints it, shortened.
const tree = `/ {
	gpio-keys {
		compatible = "gpio-keys";

		poweroff {
			gpios = <0x8003 0x03 0x00>;
		};
	};

	pl061@9030000 {
		phandle = <0x8003>;
		compatible = "arm,pl061\0arm,primecell";
	};
};
`

func TestLinesAreNamedAndFree(t *testing.T) {
	got, err := nameLines(tree)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "\n\t\tgpio-line-names = \"GPIO17\", \"GPIO27\",") {
		t.Errorf("no names in\n%s", got)
	}
	if strings.Contains(got, "gpio-keys") || strings.Count(got, "{") != strings.Count(got, "}") {
		t.Errorf("the power button is not taken out cleanly:\n%s", got)
	}
	if _, err := nameLines("/ { };"); err == nil {
		t.Error("a board without GPIO is no error")
	}
}
