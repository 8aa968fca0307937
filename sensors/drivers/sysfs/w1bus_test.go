package sysfs

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
)

// A w1Wire is a bus with parts that take their supply from the data line: the
// kernel reads one at a time, for 750 ms.
type w1Wire struct {
	h     *driver.Hardware
	ids   []string
	bus   chan struct{} // the kernel's mutex
	ext   string        // content of ext_power
	hangs string        // the part whose read does not return for a minute

	mu   sync.Mutex
	good map[string]int
	bad  map[string]string // the last error of each
}

func newW1Wire(t testing.TB, n int) *w1Wire {
	w := &w1Wire{bus: make(chan struct{}, 1), good: map[string]int{}, bad: map[string]string{}}
	files := map[string]string{}
	for i := range n {
		id := fmt.Sprintf("28-%012x", i)
		w.ids = append(w.ids, id)
		files["sys/bus/w1/devices/"+id] = "->sys/devices/w1_bus_master1/" + id
	}
	w.h = sysTree(t, files)
	return w
}

func (w *w1Wire) read(path string) (string, error) {
	if filepath.Base(path) == "ext_power" {
		return w.ext, nil
	}
	if w.ext != "1" { // else the bus is free while the part measures
		w.bus <- struct{}{}
		defer func() { <-w.bus }()
	}
	if w.hangs != "" && strings.Contains(path, w.hangs) {
		w.hangs = ""
		time.Sleep(time.Minute)
	}
	time.Sleep(750 * time.Millisecond)
	return w1At25, nil
}

// run reads every part every 30 s.
func (w *w1Wire) run(ctx context.Context) {
	var specs []sensors.Spec
	for _, id := range w.ids {
		specs = append(specs, sensors.Spec{Name: id, Every: 30 * time.Second, Options: &w1Options{ID: id},
			Streams: []sensors.Stream{{Name: id, Every: 30 * time.Second, Quantity: driver.Temperature}}})
	}
	sensors.Run(ctx, specs, sensors.Wiring{
		Open: func(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
			s, err := w.h.Open(ctx, spec)
			if err == nil {
				s.(*w1).file = w.read
			}
			return s, err
		},
		Record: func(r sensors.Reading) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if r.Err == "" {
				w.good[r.Stream]++
			} else {
				w.bad[r.Stream] = r.Err
			}
		},
		Report: func(sensors.Event) {},
		Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
	})
}

// Twenty parts take 15 s for a round, longer than a call may take.
func TestTwentyPartsOnOneWireAreAllRead(t *testing.T) {
	for _, ext := range []string{"", "0", "1"} {
		synctest.Test(t, func(t *testing.T) {
			w := newW1Wire(t, 20)
			w.ext = ext
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute-1)
			defer cancel()
			w.run(ctx)
			if len(w.bad) > 0 {
				t.Errorf("ext_power %q: %v", ext, w.bad)
			}
			for _, id := range w.ids {
				if w.good[id] != 10 {
					t.Errorf("ext_power %q: %s was read %d times in 10 rounds", ext, id, w.good[id])
				}
			}
		})
	}
}

// If a read hangs in the kernel, the waiting parts report it. They are read again after it returns.
func TestHungOneWirePartIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newW1Wire(t, 3)
		w.hangs = w.ids[1]
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		w.run(ctx)
		cancel()
		named := 0
		for id, err := range w.bad {
			if strings.Contains(err, "w1_bus_master1 is busy: "+w.ids[1]+" has not returned for") {
				named++
			} else if id != w.ids[1] || !strings.Contains(err, "hangs") {
				t.Errorf("%s: %s", id, err)
			}
		}
		if named == 0 || w.bad[w.ids[1]] == "" {
			t.Errorf("%v", w.bad)
		}
		time.Sleep(20 * time.Second) // the kernel gives it back
		w.good, w.bad = map[string]int{}, map[string]string{}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.run(ctx)
		if len(w.bad) > 0 || len(w.good) != 3 {
			t.Errorf("after it: %v %v", w.good, w.bad)
		}
	})
}
