package lines

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// parseLine returns the samples of one line. An unusable line is a failure of every quantity. In a
// JSON object each quantity is separate: an absent one has no sample, and null is a failure.
func parseLine(line string, quantities []sensors.Quantity) []sensors.Sample {
	if strings.HasPrefix(line, "{") {
		samples, err := parseObject(line, quantities)
		if err != nil {
			return failAll(quantities, err)
		}
		return samples
	}
	if len(quantities) > 1 {
		return failAll(quantities, fmt.Errorf(`%.40q is not a JSON object such as {"%s": 1}`, line, quantities[0].Name))
	}
	value, err := parseValue(line, quantities[0])
	if err != nil {
		return failAll(quantities, err)
	}
	return []sensors.Sample{{Quantity: quantities[0].Name, Value: value}}
}

// failAll returns a failure of every quantity.
func failAll(quantities []sensors.Quantity, err error) []sensors.Sample {
	var samples []sensors.Sample
	for _, q := range quantities {
		samples = append(samples, sensors.Sample{Quantity: q.Name, Err: err})
	}
	return samples
}

// parseObject reads the members that are quantities, and ignores the others: a program may write
// more than the sensor needs. An object without any of them is an error, because a name may be
// misspelt.
func parseObject(line string, quantities []sensors.Quantity) ([]sensors.Sample, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return nil, fmt.Errorf("%.40q is not a JSON object: %w", line, err)
	}
	var samples []sensors.Sample
	for _, q := range quantities {
		raw, there := object[q.Name]
		if !there {
			continue
		}
		value, err := parseMember(raw, q)
		if err != nil {
			err = fmt.Errorf("%s: %w", q.Name, err)
		}
		samples = append(samples, sensors.Sample{Quantity: q.Name, Value: value, Err: err})
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("%.40q has no value for %s", line, quantities[0].Name)
	}
	return samples, nil
}

// parseMember parses a number, the name of a state, or true and false for 1 and 0.
func parseMember(raw json.RawMessage, q sensors.Quantity) (float64, error) {
	switch raw = bytes.TrimSpace(raw); {
	case string(raw) == "null":
		return 0, errors.New("null: the source has no value")
	// With more than two states, true and false are ambiguous.
	case string(raw) == "true" && len(q.States) == 2:
		return 1, nil
	case string(raw) == "false" && len(q.States) == 2:
		return 0, nil
	case len(raw) > 0 && raw[0] == '"':
		var word string
		if err := json.Unmarshal(raw, &word); err != nil {
			return 0, err
		}
		return parseValue(strings.TrimSpace(word), q)
	}
	return parseValue(string(raw), q)
}

// parseValue parses a number or the name of a state. If the quantity has states, a number must be
// the value of one.
func parseValue(text string, q sensors.Quantity) (float64, error) {
	// Names first: a state may be named "0".
	if i := slices.Index(q.States, text); i >= 0 {
		return float64(i), nil
	}
	value, err := parseNumber(text)
	switch {
	case q.States == nil && err != nil:
		return 0, fmt.Errorf("%.40q is not a number", text)
	case q.States != nil && (err != nil || q.Word(value) == ""):
		return 0, fmt.Errorf("%.40q is none of %s", text, strings.Join(q.States, ", "))
	}
	return value, nil
}

// parseNumber parses a finite decimal number such as 45, -3.25 and 1.2e3.
func parseNumber(text string) (float64, error) {
	// ParseFloat would also accept inf, 0x1p4 and 1_000.
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, strconv.ErrSyntax
	}
	value, err := strconv.ParseFloat(text, 64)
	if err == nil && math.IsInf(value, 0) {
		return 0, strconv.ErrRange
	}
	return value, err
}
