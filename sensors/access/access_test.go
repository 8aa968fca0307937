package access

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/slowhash"
)

// questions decide each ID once, as a command.Memory does.
type questions struct {
	mu      sync.Mutex
	asked   map[string]time.Time
	decided map[string]string
}

func (q *questions) Ask(output, id string, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked[output+" "+id] = until
}

func (q *questions) Decide(output, id, what string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := output + " " + id
	if q.decided[key] != "" {
		return false
	}
	q.decided[key] = what
	return true
}

// A site is a door with a list that has the card 4711, in a synctest bubble.
type site struct {
	*Doors
	questions
	online bool   // set before cards are shown
	refuse string // why the output refuses orders; empty: it accepts them

	told   sync.Mutex // guards the fields below until the end of the bubble
	orders []outputs.Order
	events []string
}

// happened returns the number of orders and events so far.
func (s *site) happened() int {
	s.told.Lock()
	defer s.told.Unlock()
	return len(s.orders) + len(s.events)
}

func at(t *testing.T, change func(*Spec), f func(s *site)) *site {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cards")
	list := NewList()
	list.params.Iterations = slowhash.MinIterations
	line, err := list.Line("anna", "4711")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("# cards\n"+list.Head()+"\n\n"+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{questions: questions{asked: map[string]time.Time{}, decided: map[string]string{}}}
	synctest.Test(t, func(t *testing.T) {
		spec := Spec{Name: "front", Reader: "card", Output: "lock", Open: 5 * time.Second, ValidFor: 10 * time.Second,
			Within: 2 * time.Second, AllowFile: name}
		change(&spec)
		s.Doors = New([]Spec{spec}, Wiring{Boot: "17-9f3c02ab", Questions: &s.questions,
			Online: func() bool { return s.online },
			Do: func(o outputs.Order) {
				s.told.Lock()
				s.orders = append(s.orders, o)
				s.told.Unlock()
				o.Answer(outputs.Answer{Done: s.refuse == "", Why: s.refuse})
			},
			Report: func(e sensors.Event) {
				s.told.Lock()
				defer s.told.Unlock()
				s.events = append(s.events, e.Name+string(e.Details))
			},
			Now: func() clock.Stamp { return clock.Stamp{} }, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		f(s)
		synctest.Wait()
		stop()
		<-ended
	})
	return s
}

func asIs(*Spec) {}

func shown(seq uint64, number float64) sensors.Reading {
	return sensors.Reading{Stream: "card", Seq: seq, Value: number}
}

func TestListDecidesWithoutALink(t *testing.T) {
	s := at(t, asIs, func(s *site) {
		s.Observe(shown(7, 4711))
		synctest.Wait() // for the answer of the output
		s.Observe(shown(8, 4712))
		s.Observe(sensors.Reading{Stream: "door", Seq: 9, Value: 4711})
		s.Observe(sensors.Reading{Stream: "card", Seq: 10, Err: "no reader"})
		synctest.Wait()
	})
	if len(s.orders) != 1 || s.orders[0].Output != "lock" || !s.orders[0].On || s.orders[0].For != 5*time.Second ||
		s.orders[0].By != "offline list" {
		t.Errorf("orders %+v", s.orders)
	}
	want := `access{"door":"front","id":"17-9f3c02ab:7","result":"done","by":"offline list","who":"anna"}` + "\n" +
		`access{"door":"front","id":"17-9f3c02ab:8","result":"refused","by":"offline list","why":"not on the list"}`
	if got := strings.Join(s.events, "\n"); got != want {
		t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
	if s.decided["lock 17-9f3c02ab:8"] != "" || len(s.asked) != 2 {
		t.Errorf("asked %v, decided %v", s.asked, s.decided)
	}
}

func TestRefusingOutputIsReported(t *testing.T) {
	s := at(t, asIs, func(s *site) {
		s.refuse = "rest"
		s.Observe(shown(7, 4711))
		synctest.Wait()
	})
	want := `access{"door":"front","id":"17-9f3c02ab:7","result":"refused","by":"offline list","who":"anna","why":"rest"}`
	if got := strings.Join(s.events, "\n"); got != want {
		t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
}

func TestBackEndDecidesFirstWithALink(t *testing.T) {
	s := at(t, asIs, func(s *site) {
		s.online = true
		s.Observe(shown(1, 4711))
		time.Sleep(time.Second)
		s.Decide("lock", "17-9f3c02ab:1", "an order")
		time.Sleep(time.Minute)
		if s.happened() != 0 {
			panic("the list decides although an order came")
		}
		s.Observe(shown(2, 4711)) // and the back end is gone
		time.Sleep(2*time.Second - time.Millisecond)
		if s.happened() != 0 {
			panic("the list does not wait")
		}
		time.Sleep(2 * time.Millisecond)
	})
	if len(s.orders) != 1 || s.decided["lock 17-9f3c02ab:2"] != "offline list" {
		t.Errorf("orders %+v, decided %v", s.orders, s.decided)
	}
}

func TestBackEndDecidesWithoutAList(t *testing.T) {
	s := at(t, func(s *Spec) { s.AllowFile = "" }, func(s *site) {
		s.Observe(shown(1, 4711))
		time.Sleep(time.Minute)
	})
	if len(s.orders) != 0 || len(s.asked) != 1 {
		t.Errorf("orders %+v, asked %v", s.orders, s.asked)
	}
}

func TestRepeatedWrongCodesDoNotFillTheQueue(t *testing.T) {
	s := at(t, asIs, func(s *site) {
		s.online = true
		for i := range uint64(1000) {
			s.Observe(shown(i+1, float64(i)))
		}
		for _, odd := range []float64{-1, 0.5, 1e300} {
			s.Observe(shown(1, odd))
		}
		time.Sleep(time.Minute)
		s.Observe(shown(2000, 4711))
		time.Sleep(time.Minute)
	})
	if len(s.orders) != 1 || len(s.events) > 2*maxCards+1 {
		t.Errorf("%d orders, %d events", len(s.orders), len(s.events))
	}
}

func TestUnreadableListOpensNoDoor(t *testing.T) {
	s := at(t, func(s *Spec) { s.AllowFile += "-gone" }, func(s *site) { s.Observe(shown(1, 4711)) })
	if len(s.orders) != 0 || len(s.events) != 1 || !strings.Contains(s.events[0], "cannot be read") {
		t.Errorf("orders %+v, events %v", s.orders, s.events)
	}
}

func TestCardHasAName(t *testing.T) {
	l := NewList()
	for _, c := range [][2]string{{"a b", "1"}, {"", "1"}, {"anna", ""}, {"anna", "01"}, {"anna", "-1"}, {"anna", "0x1"},
		{"anna", "9007199254740992"}} {
		if line, err := l.Line(c[0], c[1]); err == nil {
			t.Errorf("%q is the line of %q", line, c)
		}
	}
}

// TestListMadeByAnotherProgram: it was made with Python's hashlib.pbkdf2_hmac.
func TestListMadeByAnotherProgram(t *testing.T) {
	l, err := ParseList([]byte("pbkdf2-sha256:1000:MDEyMzQ1Njc4OWFiY2RlZg==\n" +
		"anna:JanFURU3Jmx4tOGloCAIHH+/HfO89BEax0HVsxw+vzU=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := l.Find("4711"); name != "anna" || !ok {
		t.Errorf("%q, %v", name, ok)
	}
	if name, ok := l.Find("4712"); ok {
		t.Errorf("a card that is not in it is %q's", name)
	}
}

// FuzzList: a file is read, or the error does not contain its text.
func FuzzList(f *testing.F) {
	l := NewList()
	line, _ := l.Line("anna", "4711")
	f.Add([]byte(l.Head() + "\n" + line + "\n"))
	f.Add([]byte("pbkdf2-sha256:1:MDEyMzQ1Njc4OWFiY2RlZg==\n"))
	f.Add([]byte("\n#\nanna:x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseList(data)
		if (l == nil) == (err == nil) {
			t.Errorf("%v, %v", l, err)
		}
		if err == nil && (l.params.Iterations > slowhash.MaxIterations || len(l.params.Salt) < slowhash.SaltLength) {
			t.Errorf("%+v", l)
		}
	})
}
