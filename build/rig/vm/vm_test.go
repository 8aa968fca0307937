package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestConsoleFindsLinesInPieces(t *testing.T) {
	var log bytes.Buffer
	c := newConsole(io.Discard, &log)
	go func() {
		for _, piece := range []string{"boot", "ing\r\nrig: bus=", "3 up\r\nmore"} {
			io.WriteString(c, piece)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := c.Wait(ctx, `bus=(\d)`)
	if err != nil || found[1] != "3" {
		t.Fatalf("found %q, %v", found, err)
	}
	if got, want := log.String(), "booting\nrig: bus=3 up\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

func TestConsoleWaitIsBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := newConsole(io.Discard, io.Discard).Wait(ctx, "never"); err == nil {
		t.Error("no error")
	}
}

func TestShellReturnsTheExitStatus(t *testing.T) {
	keyboard, typed := io.Pipe()
	c := newConsole(typed, io.Discard)
	go func() { // the machine's side: every command fails
		for s := bufio.NewScanner(keyboard); s.Scan(); {
			n := s.Text()[strings.Index(s.Text(), "[shell ")+7:][:1]
			io.WriteString(c, "level=INFO msg=noise\n[shell "+n+": 1]\n")
		}
	}()
	for range 2 {
		if ok, err := c.Shell(t.Context(), "false"); ok || err != nil {
			t.Errorf("ok %v, %v", ok, err)
		}
	}
}

// qemu answers one command after the other with these lines.
func qemu(t *testing.T, answers ...string) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	go func() {
		in := bufio.NewReader(there)
		for _, a := range answers {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			io.WriteString(there, a+"\n")
		}
	}()
	return here
}

func TestMonitorSkipsEvents(t *testing.T) {
	c := qemu(t, `{"event":"RESUME"} {"return":[{"name":"device[3]","type":"child<pl061>"}]}`)
	m := &Machine{monitor: &monitor{c, json.NewDecoder(c)}}
	path, err := m.Find("pl061")
	if want := "/machine/unattached/device[3]"; path != want || err != nil {
		t.Errorf("path %q, %v; want %q", path, err, want)
	}
}

func TestRefusedCommandsAreErrors(t *testing.T) {
	c := qemu(t, `{"error":{"class":"GenericError","desc":"no such card"}}`)
	m := &Machine{monitor: &monitor{c, json.NewDecoder(c)}}
	if err := m.Link("net9", false); err == nil || !strings.Contains(err.Error(), "no such card") {
		t.Errorf("QMP: %v", err)
	}
	m.pins = newPins(qemu(t, "FAIL Unknown device"))
	if err := m.Pin("/nowhere", 0, true); err == nil || !strings.Contains(err.Error(), "Unknown device") {
		t.Errorf("qtest: %v", err)
	}
}

// TestEdgesComeBetweenAnswers: QEMU reports an output whenever it changes, also before it
// answers a command.
func TestEdgesComeBetweenAnswers(t *testing.T) {
	m := &Machine{pins: newPins(qemu(t, "OK", "IRQ raise 2\nIRQ lower 3\nIRQ lower 2\nOK"))}
	if err := m.Watch("/pl061"); err != nil {
		t.Fatal(err)
	}
	if err := m.Pin("/pl061", 0, true); err != nil {
		t.Fatal(err)
	}
	i, e, err := m.WaitEdge(t.Context(), 1, 2, false)
	if i != 2 || e.High || err != nil {
		t.Errorf("edge %d %+v, %v", i, e, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := m.WaitEdge(ctx, 3, 2, true); err == nil {
		t.Error("an edge that never came was found")
	}
}
