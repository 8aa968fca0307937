package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar fills v from the text of a scalar. A key without a value is rejected: it does not
// mean the default.
func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	// Quotes are ignored: "17" and 17 are the same number.
	switch {
	case isNull(n):
		d.fail(n, path, "has no value")
	case n.Kind != yaml.ScalarNode:
		d.fail(n, path, "want %s, not %s", wanted(v), describe(n))
	default:
		if err := setText(v, n.Value); err != nil {
			d.fail(n, path, "%v", err)
		}
	}
}

// wanted describes what a field accepts, for an error about a list or a mapping.
func wanted(v reflect.Value) string {
	switch k := v.Kind(); {
	case v.Type() == durationType:
		return "a duration such as 30s"
	case v.Addr().Type().Implements(textType), k == reflect.String:
		return "a single value"
	case k == reflect.Bool:
		return "true or false"
	case v.CanFloat():
		return "a number"
	}
	return "a whole number"
}

// setText sets v from a text, or returns why the text is not valid for its type. YAML's own
// types do not matter: the field decides about yes, on, 1_000 and 0o17. It panics for a
// type that no configuration key has.
func setText(v reflect.Value, text string) (err error) {
	// The field's own type decides what it accepts.
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == durationType:
		dur, err := parseDuration(text)
		v.SetInt(int64(dur))
		return err
	case v.Kind() == reflect.String:
		v.SetString(text)
		return nil
	case v.Kind() == reflect.Bool:
		// Not yes, no, on and off, which are no booleans in YAML 1.2.
		if text != "true" && text != "false" {
			return fmt.Errorf("want true or false, not %q", text)
		}
		v.SetBool(text == "true")
		return nil
	case v.CanFloat():
		return setFloat(v, text)
	case v.CanInt() || v.CanUint():
		return setWhole(v, text)
	}
	panic("config: cannot fill a " + v.Type().String())
}

// setFloat accepts finite numbers: NaN would make every comparison with a limit false.
func setFloat(v reflect.Value, text string) error {
	// ParseFloat accepts "inf" and "nan", and returns an infinity for 1e999.
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || v.OverflowFloat(f) {
		return fmt.Errorf("want a number, not %q", text)
	}
	v.SetFloat(f)
	return nil
}

// setWhole accepts 17 and 0x11. It does not accept 021, which is 17 in YAML 1.1 and 21 in
// YAML 1.2.
func setWhole(v reflect.Value, text string) error {
	// Checked before ParseInt, which treats a leading zero as octal.
	digits := strings.TrimPrefix(text, "-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return fmt.Errorf("want a whole number without leading zeros, not %q", text)
	}
	i, err := strconv.ParseInt(text, 0, 64) // 0x11 is the usual form of an I2C address
	switch {
	case errors.Is(err, strconv.ErrRange),
		err == nil && v.CanInt() && v.OverflowInt(i),
		err == nil && v.CanUint() && (i < 0 || v.OverflowUint(uint64(i))):
		return fmt.Errorf("%s is out of range", text)
	case err != nil:
		return fmt.Errorf("want a whole number, not %q", text)
	case v.CanInt():
		v.SetInt(i)
	default:
		v.SetUint(uint64(i))
	}
	return nil
}
