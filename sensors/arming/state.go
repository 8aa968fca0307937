package arming

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Saved is the content of the state file.
type Saved struct {
	State  string      `json:"state"`            // one of States
	Mode   string      `json:"mode,omitempty"`   // armed, or about to be: one of Modes
	By     string      `json:"by,omitempty"`     // the cause of the last change
	At     clock.Stamp `json:"at,omitzero"`      // of the last change
	Bypass []string    `json:"bypass,omitempty"` // streams that are left out
	Rules  []string    `json:"rules,omitempty"`  // those that wait for the entry delay, or have run in this alarm
}

func (s Saved) clone() Saved {
	s.Bypass, s.Rules = slices.Clone(s.Bypass), slices.Clone(s.Rules)
	return s
}

// maxSaved bounds the state file in bytes: more than a thousand names of 64 letters.
const maxSaved = 128 << 10

// header is the first line of a state file, with the CRC-32C of everything after it.
const header = "holdfast arming 1 %08x\n"

const headerLength = len("holdfast arming 1 00000000\n")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the bytes of the state file.
func (s Saved) encode() []byte {
	body, err := json.Marshal(s)
	if err != nil {
		panic("arming: state: " + err.Error()) // strings and numbers always marshal
	}
	body = append(body, '\n')
	return append(fmt.Appendf(nil, header, crc32.Checksum(body, castagnoli)), body...)
}

// errDamaged is the error for a file whose content no agent has written.
var errDamaged = errors.New("is damaged")

// decode reads what encode has written. Everything else is errDamaged.
func decode(data []byte) (Saved, error) {
	if len(data) < headerLength || len(data) > maxSaved {
		return Saved{}, fmt.Errorf("%w: it has %d bytes", errDamaged, len(data))
	}
	// The checksum first: what is behind it is parsed only if an agent wrote it.
	body := data[headerLength:]
	if !bytes.Equal(data[:headerLength], fmt.Appendf(nil, header, crc32.Checksum(body, castagnoli))) {
		return Saved{}, fmt.Errorf("%w: its checksum is not that of its content", errDamaged)
	}
	var s Saved
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(&s); err != nil || in.More() {
		return Saved{}, fmt.Errorf("%w: it is of another version", errDamaged)
	}
	if !s.isValid() {
		return Saved{}, fmt.Errorf("%w: no panel can be in this state", errDamaged)
	}
	return s, nil
}

// isValid reports whether a panel can be in this state.
func (s Saved) isValid() bool {
	hasMode := slices.Contains(Modes, s.Mode)
	isNoName := func(name string) bool { return !sensors.IsName(name) }
	if slices.ContainsFunc(slices.Concat(s.Bypass, s.Rules), isNoName) {
		return false
	}
	// In an impossible state the panel could wait for a time that never comes.
	switch s.State {
	case Disarmed:
		return s.Mode == "" && s.Rules == nil && s.Bypass == nil
	case Arming, Pending:
		return hasMode
	case Triggered:
		return hasMode || s.Mode == ""
	}
	return hasMode && s.State == armed+s.Mode
}
