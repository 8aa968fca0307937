package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

func TestFileDescriptor0SurvivesPeriph(t *testing.T) {
	var before, after unix.Stat_t
	if err := unix.Fstat(0, &before); err != nil {
		t.Skip("there is no file 0")
	}
	keepStdin(func() { unix.Close(0) })
	if err := unix.Fstat(0, &after); err != nil || before.Ino != after.Ino || before.Dev != after.Dev {
		t.Error("file 0 is another", err)
	}
}

func TestInitPeriphDoesNotLogAboutGPIO(t *testing.T) {
	var out strings.Builder
	was := log.Writer()
	defer log.SetOutput(was)
	log.SetOutput(&out)
	InitPeriph()
	if log.Writer() != &out || out.Len() > 0 {
		t.Error(out.String())
	}
}

// event is struct gpio_v2_line_event as linux/gpio.h lays it out: an edge so long
// ago, with its number.
func event(id uint32, ago time.Duration, seq uint32) []byte {
	raw := binary.NativeEndian.AppendUint64(nil, uint64(monotonic()-int64(ago)))
	for _, word := range []uint32{id, 17, seq, seq, 0, 0, 0, 0, 0, 0} {
		raw = binary.NativeEndian.AppendUint32(raw, word)
	}
	return raw
}

func TestEventLayoutMatchesTheKernel(t *testing.T) {
	var e uapi.LineEvent
	if unsafe.Sizeof(e) != eventSize || unsafe.Offsetof(e.ID) != 8 || unsafe.Offsetof(e.LineSeqno) != 20 {
		t.Error(unsafe.Sizeof(e), unsafe.Offsetof(e.ID), unsafe.Offsetof(e.LineSeqno))
	}
	if n := len(event(1, 0, 1)); n != eventSize {
		t.Error(n)
	}
}

// A line on a pipe: each write is an edge.
func TestLineWaitsForEdgesOrTheTimeout(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	told := os.NewFile(uintptr(fds[1]), "edges")
	l := &kernelLine{kernelLevel: kernelLevel{fds[0], os.NewFile(uintptr(fds[0]), "line")}}
	defer l.Close()
	into := make([]Edge, 8)
	for _, timeout := range []time.Duration{-1, 0, time.Millisecond} {
		if n, err := l.WaitEdges(t.Context(), timeout, into); n != 0 || err != nil {
			t.Fatalf("%v: %v, %v", timeout, n, err)
		}
	}
	if _, err := told.Write(slices.Concat(event(1, time.Second, 1), event(2, 0, 5))); err != nil {
		t.Fatal(err)
	}
	n, err := l.WaitEdges(t.Context(), time.Minute, into)
	if err != nil || n != 2 || !into[0].High || into[0].Lost != 0 || into[1].High || into[1].Lost != 3 {
		t.Fatalf("%d edges, %+v, %v", n, into[:2], err)
	}
	if apart := into[1].At.Sub(into[0].At); apart < 999*time.Millisecond || apart > 2*time.Second {
		t.Error(apart, "apart; they were written as a second apart")
	}
	ended, end := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, end)
	if n, err := l.WaitEdges(ended, time.Hour, into); n != 0 || err != nil || ended.Err() == nil {
		t.Fatal("a context that ends does not end the wait", n, err)
	}
	if n, err := l.WaitEdges(ended, time.Hour, into); n != 0 || err != nil {
		t.Fatal("waited although the context has ended", n, err)
	}
	told.Close()
	if n, err := l.WaitEdges(t.Context(), time.Minute, into); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatal("waited on what has gone", n, err)
	}
	if _, err := l.Level(t.Context()); !errors.Is(err, syscall.ENOTTY) && !errors.Is(err, syscall.EINVAL) {
		t.Error("read a level from a pipe", err)
	}
}

func TestWaitEdgesIsBoundedByItsBuffer(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	l := &kernelLine{kernelLevel: kernelLevel{fds[0], os.NewFile(uintptr(fds[0]), "line")}}
	defer l.Close()
	for seq := range uint32(5) {
		if _, err := unix.Write(fds[1], event(1, 0, seq+1)); err != nil {
			t.Fatal(err)
		}
	}
	into := make([]Edge, 3)
	for _, want := range []int{3, 2, 0} {
		if n, err := l.WaitEdges(t.Context(), time.Millisecond, into); n != want || err != nil {
			t.Fatal(n, err, "want", want)
		}
	}
}

// FuzzEvents: whatever the kernel writes ends in edges of the past or an error,
// and the numbers add up even if they start again.
func FuzzEvents(f *testing.F) {
	f.Add(uint32(0), event(1, 0, 1))
	f.Add(uint32(math.MaxUint32), slices.Concat(event(2, -time.Hour, 0), event(1, time.Hour, 9)))
	f.Add(uint32(7), event(3, 0, 8)[:47])
	f.Fuzz(func(t *testing.T, seq uint32, raw []byte) {
		l := &kernelLine{seq: seq}
		into := make([]Edge, len(raw)/eventSize)
		n, err := l.decode(raw, into)
		if err == nil && n != len(into) {
			t.Fatalf("%d edges of %d bytes", n, len(raw))
		}
		sum := seq
		for _, e := range into[:n] {
			if sum += e.Lost + 1; e.At.After(time.Now()) {
				t.Fatalf("an edge %v from now", time.Until(e.At))
			}
		}
		if sum != l.seq {
			t.Fatalf("%d edges and lost ones make number %d, it is %d", n, sum, l.seq)
		}
	})
}

func TestNonChipFileIsNamed(t *testing.T) {
	h := &host.Host{Dev: t.TempDir()}
	if err := os.WriteFile(h.Dev+"/gpiochip0", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(h, pinOf(t, "GPIO17"), Request{Pull: PullUp})
	if !errors.Is(err, syscall.ENOTTY) || !strings.Contains(err.Error(),
		"GPIO17: "+h.Dev+"/gpiochip0: is it a GPIO chip?") {
		t.Error(err)
	}
}

func TestForbiddenChipNamesTheGroup(t *testing.T) {
	err := explainChip(&os.PathError{Op: "open", Path: "/dev/gpiochip0", Err: syscall.EACCES})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "/dev/gpiochip0: permission denied: join") ||
		!strings.Contains(err.Error(), "usermod -aG gpio ") {
		t.Error(err)
	}
}
