package vm

import (
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// A monitor is a QMP session: JSON objects, one command after the other, with
// events in between (QEMU's docs/interop/qmp-spec).
type monitor struct {
	conn net.Conn
	in   *json.Decoder
}

const answers = 10 * time.Second // limit for one command, on a machine under load

func newMonitor(c net.Conn) (*monitor, error) {
	m := &monitor{c, json.NewDecoder(c)}
	var greeting struct{ QMP json.RawMessage }
	c.SetDeadline(time.Now().Add(answers))
	if err := m.in.Decode(&greeting); err != nil {
		return nil, fmt.Errorf("QMP greeting: %w", err)
	}
	return m, m.do("qmp_capabilities", nil, nil)
}

// do executes a command and decodes the result into into, unless that is nil.
func (m *monitor) do(command string, arguments map[string]any, into any) error {
	if arguments == nil {
		arguments = map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	m.conn.SetDeadline(time.Now().Add(answers))
	if _, err := m.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	returned, err := m.answer()
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(returned, into)
}

// answer returns the next object that is not an event.
func (m *monitor) answer() (json.RawMessage, error) {
	for {
		var r struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.in.Decode(&r); err != nil {
			return nil, err
		}
		if r.Error != nil {
			return nil, fmt.Errorf("%s", r.Error.Desc)
		}
		if r.Return != nil {
			return r.Return, nil
		}
	}
}

// Run starts the processor.
func (m *Machine) Run() error { return m.monitor.do("cont", nil, nil) }

// Link pulls the cable of a network card or plugs it in.
func (m *Machine) Link(card string, up bool) error {
	return m.monitor.do("set_link", map[string]any{"name": card, "up": up}, nil)
}

// Find returns the path of the first device of a type on the board, in QEMU's object model.
func (m *Machine) Find(kind string) (string, error) {
	const board = "/machine/unattached"
	var children []struct{ Name, Type string }
	if err := m.monitor.do("qom-list", map[string]any{"path": board}, &children); err != nil {
		return "", err
	}
	for _, c := range children {
		if c.Type == "child<"+kind+">" {
			return board + "/" + c.Name, nil
		}
	}
	return "", fmt.Errorf("the machine has no %s", kind)
}
