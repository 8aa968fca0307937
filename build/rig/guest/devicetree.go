package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// writeTree writes QEMU's own device tree of the board with its GPIO lines named
// as on a Raspberry Pi.
func (f Fetched) writeTree(ctx context.Context, file string) error {
	// -nic none: the tree shall have what the board has, not what is plugged in
	args := append(board(), "-M", "dumpdtb="+file, "-display", "none", "-nic", "none")
	if out, err := f.command(ctx, qemu, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	source, err := f.dtc(ctx, nil, "-I", "dtb", "-O", "dts", file)
	if err != nil {
		return err
	}
	named, err := nameLines(string(source))
	if err != nil {
		return err
	}
	blob, err := f.dtc(ctx, []byte(named), "-I", "dts", "-O", "dtb")
	if err != nil {
		return err
	}
	return os.WriteFile(file, blob, 0o644)
}

// dtc is the device tree compiler, from input or a file to its output.
func (f Fetched) dtc(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	var errs bytes.Buffer
	cmd := f.command(ctx, "dtc", append([]string{"-q"}, args...)...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("dtc: %w: %s", err, errs.Bytes())
	}
	return out, nil
}

var (
	gpioCompatible = regexp.MustCompile(`(?m)^(\s*)compatible = "arm,pl061[^\n]*$`)
	gpioKeys       = regexp.MustCompile(`(?ms)^\tgpio-keys \{.*?^\t\};\n`)
)

// lines are the names of the controller's eight lines, [DoorLine] first.
var lines = []string{"GPIO17", "GPIO27", "GPIO22", "GPIO23", "GPIO24", "GPIO25", "GPIO5", "GPIO6"}

// nameLines names the GPIO lines in the source of a device tree and takes out the
// power button, which holds one of them.
func nameLines(source string) (string, error) {
	if !gpioCompatible.MatchString(source) {
		return "", errors.New("the board has no pl061")
	}
	names := `"` + strings.Join(lines, `", "`) + `"`
	source = gpioCompatible.ReplaceAllString(source, "$0\n${1}gpio-line-names = "+names+";")
	return gpioKeys.ReplaceAllString(source, ""), nil
}
