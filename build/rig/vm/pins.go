package vm

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// pins is a qtest session: lines of text, each answered by one that begins with
// OK (QEMU's docs/devel/testing/qtest). It is made for machines without a
// processor, and works beside one.
type pins struct {
	conn net.Conn
	in   *bufio.Reader
}

func newPins(c net.Conn) *pins { return &pins{c, bufio.NewReader(c)} }

// Pin sets the level of an input of a device: Pin(path, 0, true).
func (m *Machine) Pin(device string, n int, high bool) error {
	level := 0
	if high {
		level = 1
	}
	return m.pins.do(fmt.Sprintf("set_irq_in %s unnamed-gpio-in %d %d", device, n, level))
}

func (p *pins) do(command string) error {
	p.conn.SetDeadline(time.Now().Add(answers))
	if _, err := fmt.Fprintln(p.conn, command); err != nil {
		return fmt.Errorf("qtest %s: %w", command, err)
	}
	answer, err := p.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("qtest %s: %w", command, err)
	}
	if !strings.HasPrefix(answer, "OK") {
		return fmt.Errorf("qtest %s: %s", command, strings.TrimSpace(answer))
	}
	return nil
}
