package drivers

import (
	"errors"
	"io"
	"log"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileZeroSurvivesPeriph(t *testing.T) {
	var before, after unix.Stat_t
	if err := unix.Fstat(0, &before); err != nil {
		t.Skip("there is no file 0")
	}
	keepStdin(func() { unix.Close(0) })
	if err := unix.Fstat(0, &after); err != nil || before.Ino != after.Ino || before.Dev != after.Dev {
		t.Error("file 0 is another", err)
	}
}

func TestLookingForChipsIsQuietAndRestoresTheLog(t *testing.T) {
	var out strings.Builder
	was := log.Writer()
	defer log.SetOutput(was)
	log.SetOutput(&out)
	NewHardware()
	if log.Writer() != &out || out.Len() > 0 {
		t.Error(out.String())
	}
}

// The waiting of a line on a pipe: what is written stands for an edge.
func TestLineWaitsForAnEdgeOrTheTimeout(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	edges := os.NewFile(uintptr(fds[1]), "edges")
	l := kernelLine{fds[0], os.NewFile(uintptr(fds[0]), "line")}
	defer l.Close()
	for _, timeout := range []time.Duration{-1, 0, time.Millisecond} {
		if edge, err := l.wait(timeout); edge || err != nil {
			t.Fatalf("%v: %v, %v", timeout, edge, err)
		}
	}
	if _, err := edges.Write(make([]byte, 3*48)); err != nil {
		t.Fatal(err)
	}
	if edge, err := l.wait(time.Minute); !edge || err != nil {
		t.Fatal(edge, err)
	}
	if edge, err := l.wait(time.Millisecond); edge || err != nil {
		t.Fatal("did not take all edges at once", edge, err)
	}
	edges.Close()
	if edge, err := l.wait(time.Minute); edge || !errors.Is(err, io.EOF) {
		t.Fatal("waited on what has gone", edge, err)
	}
	if _, err := l.level(); !errors.Is(err, syscall.ENOTTY) && !errors.Is(err, syscall.EINVAL) {
		t.Error("read a level from a pipe", err)
	}
}

func TestFileThatIsNoChipIsNamed(t *testing.T) {
	h := &Hardware{Dev: t.TempDir()}
	if err := os.WriteFile(h.Dev+"/gpiochip0", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := h.line(pinOf(t, "GPIO17"), pullUp)
	if !errors.Is(err, syscall.ENOTTY) || !strings.Contains(err.Error(), "GPIO17: "+h.Dev+"/gpiochip0: is it a GPIO chip?") {
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
