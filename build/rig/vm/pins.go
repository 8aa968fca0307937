package vm

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// pins is a qtest session: lines of text, each answered by one that starts with OK (QEMU's
// docs/devel/testing/qtest). Between the answers there are lines about outputs, if they
// were requested. qtest is made for machines without a processor, and also works with one.
type pins struct {
	conn    net.Conn
	answers chan string // lines that are not edges; closed when the session has ended

	mu    sync.Mutex
	edges []Edge
	more  chan struct{} // closed and replaced at every edge
}

// An Edge is a change of an output of the device that [Machine.Watch] was called for.
type Edge struct {
	Line int
	High bool
	At   time.Time // by the host's clock, when QEMU reported it
}

func newPins(c net.Conn) *pins {
	p := &pins{conn: c, answers: make(chan string, 1), more: make(chan struct{})}
	go p.read()
	return p
}

// read separates answers from edges until the session ends.
func (p *pins) read() {
	defer close(p.answers)
	for in := bufio.NewScanner(p.conn); in.Scan(); {
		e := Edge{At: time.Now()}
		var level string
		if n, _ := fmt.Sscanf(in.Text(), "IRQ %s %d", &level, &e.Line); n < 2 {
			p.answers <- in.Text()
			continue
		}
		e.High = level == "raise"
		p.mu.Lock()
		p.edges = append(p.edges, e)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// Pin sets the level of an input of a device: Pin(path, 0, true).
func (m *Machine) Pin(device string, n int, high bool) error {
	level := 0
	if high {
		level = 1
	}
	return m.pins.do(fmt.Sprintf("set_irq_in %s unnamed-gpio-in %d %d", device, n, level))
}

// Watch records each change of the outputs of a device from now on. Only one device of the
// machine can be watched. QEMU assumes low at the start: it reports an output that is high
// at once.
func (m *Machine) Watch(device string) error { return m.pins.do("irq_intercept_out " + device) }

// Edges are the changes that were recorded so far, and a channel that is closed with the
// next one.
func (m *Machine) Edges() ([]Edge, <-chan struct{}) {
	m.pins.mu.Lock()
	defer m.pins.mu.Unlock()
	return m.pins.edges[:len(m.pins.edges):len(m.pins.edges)], m.pins.more
}

// WaitEdge waits for a change of a line to a level, ignoring the first from edges, and
// returns it with its number.
func (m *Machine) WaitEdge(ctx context.Context, from, line int, high bool) (int, Edge, error) {
	for {
		edges, more := m.Edges()
		for i := from; i < len(edges); i++ {
			if edges[i].Line == line && edges[i].High == high {
				return i, edges[i], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0, Edge{}, fmt.Errorf("line %d does not become high=%v: %w", line, high, ctx.Err())
		}
	}
}

func (p *pins) do(command string) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(answers)); err != nil {
		return fmt.Errorf("qtest %s: %w", command, err)
	}
	if _, err := fmt.Fprintln(p.conn, command); err != nil {
		return fmt.Errorf("qtest %s: %w", command, err)
	}
	select {
	case answer, ok := <-p.answers:
		if !ok {
			return fmt.Errorf("qtest %s: the session has ended", command)
		}
		if !strings.HasPrefix(answer, "OK") {
			return fmt.Errorf("qtest %s: %s", command, strings.TrimSpace(answer))
		}
		return nil
	case <-time.After(answers):
		return fmt.Errorf("qtest %s: no answer in %v", command, answers)
	}
}
