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

// writeTree writes QEMU's device tree of the board with GPIO lines named as on a Raspberry
// Pi.
func (f Fetched) writeTree(ctx context.Context, file string) error {
	// -nic none: the tree has only the board's own devices
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

// dtc runs the device tree compiler with an input or a file, and returns its output.
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

// lines are the names of the controller's eight lines, starting with [DoorLine].
var lines = []string{"GPIO17", "GPIO27", "GPIO22", "GPIO23", "GPIO24", "GPIO25", "GPIO5", "GPIO6"}

// nameLines adds the names of the GPIO lines to the source of a device tree and removes the
// power button, which uses one of them.
func nameLines(source string) (string, error) {
	if !gpioCompatible.MatchString(source) {
		return "", errors.New("the board has no pl061")
	}
	names := `"` + strings.Join(lines, `", "`) + `"`
	source = gpioCompatible.ReplaceAllString(source, "$0\n${1}gpio-line-names = "+names+";")
	return gpioKeys.ReplaceAllString(source, ""), nil
}
