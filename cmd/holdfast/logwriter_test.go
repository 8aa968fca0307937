package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// A heldLog blocks until it is released. It may be read after the writer is closed.
type heldLog struct {
	release chan struct{} // closed: it takes everything
	bytes.Buffer
}

func (h *heldLog) Write(lines []byte) (int, error) {
	<-h.release
	return h.Buffer.Write(lines)
}

// TestNoLineIsLostInOrder: lines that are logged directly before close are written.
func TestNoLineIsLostInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to bytes.Buffer
		w, want := newAsyncWriter(&to), ""
		for i := range 1000 {
			line := fmt.Sprintln("line", i)
			want += line
			w.Write([]byte(line))
			if i == 500 {
				synctest.Wait() // the goroutine has written them without a timer
				if to.String() != want {
					t.Fatalf("%d bytes are written, want %d", to.Len(), len(want))
				}
			}
		}
		if !w.close(time.Second) {
			t.Fatal("it does not end")
		}
		if to.String() != want {
			t.Errorf("%d bytes, want %d, in order", to.Len(), len(want))
		}
	})
}

// TestHangingLogLosesTheNewestLines, and writes their number in their place.
func TestHangingLogLosesTheNewestLines(t *testing.T) {
	for _, journal := range []string{"", "8:42"} {
		t.Run("JOURNAL_STREAM="+journal, func(t *testing.T) {
			t.Setenv("JOURNAL_STREAM", journal)
			synctest.Test(t, testLostLines)
		})
	}
}

func testLostLines(t *testing.T) {
	to := &heldLog{release: make(chan struct{})}
	w, began := newAsyncWriter(to), time.Now()
	log := newLog(w)
	const lines = 10_000 // 100 bytes each: most of them are lost
	for i := range lines {
		log.Info("line", "i", i, "text", strings.Repeat("x", 80))
		if i == 0 {
			synctest.Wait() // the goroutine hangs while it writes the first line
		}
	}
	if len(w.waiting) > maxWaiting || cap(w.waiting) > 2*maxWaiting {
		t.Errorf("%d bytes wait", len(w.waiting))
	}
	if took := time.Since(began); took > 0 {
		t.Errorf("who logs has waited %v", took)
	}
	close(to.release)
	synctest.Wait()
	log.Error("afterwards")
	if !w.close(time.Second) {
		t.Fatal("it does not end")
	}
	got := strings.Split(strings.TrimSuffix(to.String(), "\n"), "\n")
	written := len(got) - 2
	for i, line := range got[:written] {
		if !strings.Contains(line, fmt.Sprintf("msg=line i=%d ", i)) {
			t.Fatalf("line %d is %s", i, line)
		}
	}
	told := fmt.Sprintf("msg=%q lines=%d", "log lines are lost: what reads the log hung", lines-written)
	if written < 1000 || written == lines || !strings.HasSuffix(got[written], told) {
		t.Errorf("%d of %d lines, and then %s, want %s", written, lines, got[written], told)
	}
	if !strings.HasSuffix(got[written+1], "msg=afterwards") {
		t.Errorf("the last line is %s", got[written+1])
	}
	if os.Getenv("JOURNAL_STREAM") != "" && !strings.HasPrefix(got[written], "<4>msg=") {
		t.Errorf("journald is told %s", got[written])
	}
}

// TestLineThatIsTooLongIsCounted even if no line waits.
func TestLineThatIsTooLongIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to bytes.Buffer
		w := newAsyncWriter(&to)
		w.Write(make([]byte, maxWaiting+1))
		synctest.Wait()
		w.Write([]byte("afterwards\n"))
		w.close(time.Second)
		if !strings.Contains(to.String(), "lines=1\nafterwards\n") {
			t.Errorf("%.100q", to.String())
		}
	})
}

// TestShutdownDoesNotWaitForAHangingLog longer than the limit.
func TestShutdownDoesNotWaitForAHangingLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &heldLog{release: make(chan struct{})}
		w, began := newAsyncWriter(to), time.Now()
		w.Write([]byte("line\n"))
		if w.close(lastLines) || time.Since(began) != lastLines {
			t.Errorf("after %v", time.Since(began))
		}
		close(to.release) // it must end in the bubble
	})
}

// TestFailedLogWriteIsNotTheLast: the next line is written.
func TestFailedLogWriteIsNotTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &brokenLog{fails: 2}
		w := newAsyncWriter(to)
		for i := range 3 {
			slog.New(slog.NewTextHandler(w, nil)).Info("line", "i", i)
			synctest.Wait()
		}
		if !w.close(time.Second) || strings.Count(to.String(), "\n") != 1 || !strings.Contains(to.String(), "i=2") {
			t.Errorf("got %q", to.String())
		}
	})
}

// A brokenLog fails several times.
type brokenLog struct {
	fails int
	bytes.Buffer
}

func (b *brokenLog) Write(lines []byte) (int, error) {
	if b.fails > 0 {
		b.fails--
		return 0, errors.New("no space left")
	}
	return b.Buffer.Write(lines)
}

// fullPipe is a pipe that is full until somebody reads it.
func fullPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	fd := int(write.Fd())
	// The agent gets a pipe that blocks, as a shell would make it.
	defer syscall.SetNonblock(fd, false)
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for {
		switch _, err := syscall.Write(fd, make([]byte, 4096)); err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
			return read, write
		default:
			t.Fatal(err)
		}
	}
}

// TestHangingLogDelaysNothing: nobody reads the agent's standard error, and the pipe is
// full from the start. Readings arrive, the siren goes on and off, also after a reload, and
// SIGTERM ends the agent cleanly. The log is complete when it is read at last.
func TestHangingLogDelaysNothing(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, `
  door: {kind: simulated, steps: {states: [closed, open], every: 1s}, class: door, alarm: true}
outputs:
  siren: {kind: simulated, class: siren, max_on: 500ms}
rules:
  intruder: {when: {door: open}, then: {siren: 500ms}}
`)
	_, w.agent.errs = fullPipe(t)
	w.agent.start()
	w.more(t, "siren", 4)
	w.agent.cmd.Process.Signal(syscall.SIGHUP)
	w.more(t, "siren", 4)
	w.agent.stop()
	w.checkComplete(t, "door")

	read, write := fullPipe(t)
	w.agent.errs = write
	w.agent.start()
	w.more(t, "siren", 4)
	log := make(chan string)
	go func() {
		text, _ := io.ReadAll(read)
		log <- string(bytes.Trim(text, "\x00"))
	}()
	w.agent.stop()
	w.agent.errs.Close()
	text := <-log
	for _, line := range []string{"msg=\"holdfast starts\"", "msg=\"holdfast stopped\""} {
		if strings.Count(text, line) != 1 {
			t.Errorf("no line %s in the log:\n%s", line, text)
		}
	}
}

// TestHangingLogDoesNotKeepAnOutputOn: the first attempts to set the siren's line to its
// safe level fail, which is logged, and the log hangs. The retries continue, and so does
// the next rule.
func TestHangingLogDoesNotKeepAnOutputOn(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("house", fmt.Appendf(nil, sirenHouse, freeAddr(t), filepath.Join(t.TempDir(), "queue.db")))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sensors = slices.DeleteFunc(cfg.Sensors, func(s sensors.Spec) bool { return s.Name != "door" })
	door := &openDoor{edges: make(chan float64), quantity: cfg.Sensors[0].Streams[0].Quantity.Name}
	siren := &brokenSiren{fakeSiren: fakeSiren{set: make(chan bool)}}
	siren.fails.Store(3)
	held := &heldLog{release: make(chan struct{})}
	lines := newAsyncWriter(held)
	ctx, stop := context.WithCancel(t.Context())
	var agent sync.WaitGroup
	agent.Go(func() {
		_, err := serve(ctx, cfg, surroundings{log: newLog(lines),
			open: func(context.Context, sensors.Spec) (sensors.Sensor, error) { return door, nil },
			openLine: func(ctx context.Context, _ outputs.Spec) (outputs.Line, error) {
				return siren, siren.Set(ctx, false) // a line is safe once it is open
			}})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for range 2 {
		door.edges <- 0
		door.edges <- 1
		siren.await(true)
		siren.await(false)
	}
	stop()
	agent.Wait()
	close(held.release)
	if !lines.close(time.Minute) || !strings.Contains(held.String(), "it is not known what the output does") {
		t.Errorf("the log:\n%s", held.String())
	}
}

// A brokenSiren fails several times when it is switched off, more often than failures are
// logged.
type brokenSiren struct {
	fakeSiren
	fails atomic.Int32
}

func (s *brokenSiren) Set(ctx context.Context, on bool) error {
	if now, _ := s.Get(ctx); now && !on && s.fails.Add(-1) >= 0 {
		return errors.New("the bus does not answer")
	}
	return s.fakeSiren.Set(ctx, on)
}
