package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// TestResettingBrokerBacksOff: whatever it resets for, there are at
// most 30 connections and 60 lines of log in 200 s.
func TestResettingBrokerBacksOff(t *testing.T) {
	for _, topic := range []string{"/agent/info", "/agent/canary", "/agent/health", "/room", "/room/state", "/door"} {
		for _, resets := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %t", topic[1:], resets), func(t *testing.T) {
				br, log := up(t, func(l *Link, br *broker, bl *backlog) {
					br.set(func() {
						br.resets = resets
						br.closesFor = func(m mqtt.Message) bool {
							return strings.HasSuffix(m.Topic, topic) &&
								m.Topic != "porch/agent/event"
						}
					})
					for seq := range uint64(200) {
						bl.put(reading("room", seq+1))
						l.Observe(reading("room", seq+1))
						if seq%10 == 0 {
							bl.put(alarmOf("door", seq+1))
						}
						time.Sleep(500 * time.Millisecond)
						br.says("porch/agent/status", "offline") // the will of the connection that was reset
						time.Sleep(500 * time.Millisecond)
					}
				})
				if lines := strings.Count(log, "\n"); br.conns > 30 || lines > 60 {
					t.Errorf("%d connections and %d lines of log in 200 s:\n%s", br.conns, lines, log)
				}
			})
		}
	}
}

// TestTheLogIsTrueWhileTheLinkFlaps: each reason is logged once, but after "uplink
// up" the next failure is logged; and "up" is, when a session lasts.
func TestTheLogIsTrueWhileTheLinkFlaps(t *testing.T) {
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		for range 10 {
			time.Sleep(15 * time.Second)
			br.cut()
		}
		br.set(func() { br.refuse = errors.New("dial: no route to host") })
		br.cut()
		time.Sleep(5 * time.Minute)
		br.set(func() { br.refuse = nil })
		time.Sleep(3 * time.Minute)
		br.cut()
		time.Sleep(10 * time.Second)
	})
	var got []string
	for line := range strings.Lines(log) {
		_, text, _ := strings.Cut(line, "msg=")
		switch {
		case strings.Contains(text, "uplink down") && strings.Contains(text, "note="):
			text = "down, again and again"
		case strings.Contains(text, "no route"):
			text = "no route"
		case strings.Contains(text, "uplink down"):
			text = "down"
		case strings.Contains(text, "after_short_sessions"):
			text = "up after all"
		case strings.Contains(text, "uplink up"):
			text = "up"
		default:
			continue
		}
		got = append(got, text)
	}
	want := "up; down; up; down; up; down, again and again; no route; up after all; down; up"
	if strings.Join(got, "; ") != want {
		t.Errorf("the log says %s\nwant         %s\n%s", strings.Join(got, "; "), want, log)
	}
}

// TestAReasonIsLoggedOnce also where its text differs, by the port of our end.
func TestAReasonIsLoggedOnce(t *testing.T) {
	var text strings.Builder
	log := linkLog{log: slog.New(slog.NewTextHandler(&text, nil)), logged: map[string]bool{}}
	for port := range 10 {
		log.down(&net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: 40_000 + port},
			Err: syscall.ECONNREFUSED}, 0, time.Second)
	}
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("%d lines for ten attempts", n)
	}
}
