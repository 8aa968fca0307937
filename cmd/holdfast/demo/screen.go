package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A screen prints what arrives, and counts it to detect losses. Its methods may be called
// from any goroutine, except those whose name ends in Locked, which require mu.
type screen struct {
	start time.Time // the zero of the times at the start of the lines

	mu       sync.Mutex // guards what follows
	out      io.Writer
	made     int             // samples of the sensors, and changes of outputs
	arrivals int             // readings that arrived, including duplicates
	seen     map[string]bool // keys of the readings that arrived
	shown    int             // the backlog that was printed last
	pulled   bool            // whether the network is pulled
	opened   time.Time       // when the door opened last; zero: never
	on       map[string]bool // the outputs that are on
}

// newScreen returns a screen whose time starts now.
func newScreen(out io.Writer) *screen {
	return &screen{start: time.Now(), out: out, seen: map[string]bool{}, on: map[string]bool{}}
}

// payload is the part of a reading's payload that the screen uses.
type payload struct {
	TS         int64    `json:"ts"`    // ms since 1970
	Boot       string   `json:"boot"`  // the start of the agent
	Seq        uint64   `json:"seq"`   // number in its stream and boot, from 1
	Value      *float64 `json:"value"` // null: it could not be measured
	State      string   `json:"state"` // name of the value, if it has one
	Unit       string   `json:"unit"`
	Historical bool     `json:"historical"` // sent more than ten seconds late
	Error      string   `json:"error"`
}

// arrived handles one message, in a goroutine of the broker. It prints and counts readings,
// prints the agent's status, and ignores states and the agent's other messages, because
// they would fill the screen.
func (s *screen) arrived(m broker.Message) {
	// The last will shows a subscriber that the cable is pulled.
	if strings.HasSuffix(m.Topic, "/agent/status") {
		s.say("the broker says: " + string(m.Payload))
		return
	}
	// The key that a subscriber has to use, because a reading may be delivered twice.
	var p payload
	if strings.Count(m.Topic, "/") != 1 || json.Unmarshal(m.Payload, &p) != nil {
		return // two levels are data, three levels are everything else
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals++
	s.seen[fmt.Sprint(p.Boot, " ", m.Topic, " ", p.Seq)] = true
	s.lineLocked("%-16s %-9s %s", m.Topic, p.text(), p.age())
}

// text is the value of a reading as text.
func (p payload) text() string {
	switch {
	case p.Value == nil:
		return p.Error
	case p.State != "":
		return p.State
	}
	return strconv.FormatFloat(*p.Value, 'f', 2, 64) + " " + p.Unit
}

// age is how late a reading has arrived, "" if it came at once.
func (p payload) age() string {
	// Both times are from the clock of this machine, so the difference is exact.
	age := time.Since(time.UnixMilli(p.TS)).Seconds()
	switch {
	case p.Historical:
		return fmt.Sprintf("%5.1f s old, historical", age)
	case age > 1:
		return fmt.Sprintf("%5.1f s old", age)
	}
	return ""
}

// sent counts the samples of a sensor. It is called before the agent gets them, so made is
// never less than the number of arrived readings.
func (s *screen) sent(sensor string, samples []sensors.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made += len(samples)
	for _, sample := range samples {
		if sensor == "door" && sample.Value == 1 {
			s.opened = time.Now()
		}
	}
}

// changed counts the change of an output, and prints it immediately: its reading may have
// to wait for the network.
func (s *screen) changed(r sensors.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	was := s.on[r.Stream]
	if s.on[r.Stream] = r.Value == 1; s.on[r.Stream] == was {
		return // the reading at the start
	}
	network := ""
	if s.pulled {
		network = ", without a network"
	}
	if was {
		s.lineLocked("   the %s is off again%s", r.Stream, network)
		return
	}
	late := time.Since(s.opened).Seconds() * 1000
	s.lineLocked("   the %s sounds, by %s, %.1f ms after the door opened%s", r.Stream, r.By, late, network)
}

// dark stores whether the network is pulled.
func (s *screen) dark(pulled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulled = pulled
}

// isLoud reports whether an output is on: then it will change once more without an order.
func (s *screen) isLoud() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, on := range s.on {
		if on {
			return true
		}
	}
	return false
}

// waiting is the number of samples and changes that have not arrived as readings.
func (s *screen) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made - len(s.seen)
}

// backlog prints how many readings have not arrived, if the number has changed. While the
// network works a few are always in flight, which is not printed.
func (s *screen) backlog(connected bool) {
	n := s.waiting() // takes the lock itself
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == s.shown || connected && n > 0 && s.shown == 0 {
		return
	}
	s.shown = n
	if n == 0 {
		s.lineLocked("   backlog 0: everything has arrived")
		return
	}
	s.lineLocked("   backlog %d %s", n, strings.Repeat("▪", min(n, 50)))
}

// say prints a line with emphasis.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lineLocked("── %s ──", text)
}

// printf prints a text unchanged, without the time.
func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// lineLocked prints a line that starts with the time.
func (s *screen) lineLocked(format string, args ...any) {
	line := fmt.Sprintf("%6.1fs  ", time.Since(s.start).Seconds()) + fmt.Sprintf(format, args...)
	fmt.Fprintln(s.out, strings.TrimRight(line, " "))
}

// browse opens an address in the browser of the desktop, without waiting for it.
func (s *screen) browse(url string) {
	cmd := exec.Command("xdg-open", url)
	if err := cmd.Start(); err != nil {
		s.say("no browser was opened: " + err.Error())
		return
	}
	go cmd.Wait() // it ends when the browser has taken the address
}

// drain waits until all outputs are off and everything has arrived, but not longer than
// limit. What has not arrived by then counts as lost in the summary.
func (s *screen) drain(limit time.Duration) {
	for end := time.Now().Add(limit); (s.isLoud() || s.waiting() > 0) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	s.backlog(false)
}

// summary compares the samples and changes with the readings that arrived. A missing
// reading is an error; a duplicate is not.
func (s *screen) summary() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.made - len(s.seen) // keys, so a copy does not hide a loss
	fmt.Fprintf(s.out, "\nsent %d, received %d, lost %d", s.made, len(s.seen), lost)
	if again := s.arrivals - len(s.seen); again > 0 {
		fmt.Fprintf(s.out, " (%d came twice: at least once is the promise)", again)
	}
	fmt.Fprintln(s.out)
	if lost != 0 {
		return fmt.Errorf("%d readings were lost", lost)
	}
	return nil
}
