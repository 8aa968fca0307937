package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// socketPair returns two ends of a connection through the kernel. The first one's
// buffer takes little.
func socketPair(t interface{ Fatal(...any) }) (near, far net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.SetsockoptInt(fds[0], syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1) // the kernel's minimum
	}
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket pair")
		ends[i], err = net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

// TestFlushKeepsTheOrder: whatever the session and the library write, whoever of
// the two goroutines gives it to the kernel, and however little that takes at a time,
// the broker gets each packet once, whole and in order.
func TestFlushKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near, far := socketPair(t)
		w := newWire(near, Limits{Write: 10 * time.Second}, func(error) {})
		if w.direct == nil {
			t.Fatal("the socket is not written directly")
		}
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(far)
			got <- all
		}()
		var want []byte
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"enqueue", "enqueue", "flush", "library"}).Draw(t, "step") {
			case "enqueue":
				m := Message{Topic: "a", Payload: bytes.Repeat([]byte{byte(len(want))},
					rapid.IntRange(0, 600).Draw(t, "length")), AtMostOnce: true}
				w.publish(m)
				want = appendPublish(want, m, 0)
			case "flush":
				w.writeNow()
			case "library":
				w.Write(pingRequest)
				want = append(want, pingRequest...)
			}
		}
		w.Close()
		if all := <-got; !bytes.Equal(all, want) {
			t.Fatalf("%d bytes arrived, want %d; the first that differs is %d", len(all), len(want), firstDifference(all, want))
		}
		far.Close()
	})
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestFlushEndsTheConnectionThatIsReset as a write of the library does: failed gets
// the reason.
func TestFlushEndsTheConnectionThatIsReset(t *testing.T) {
	near, far := socketPair(t)
	failed := make(chan error, 2)
	w := newWire(near, Limits{Write: 10 * time.Second}, func(err error) { failed <- err })
	go io.Copy(io.Discard, w) // finds the end of the connection, so that no answer is awaited
	far.Close()
	token := w.publish(Message{Topic: "a"})
	w.writeNow()
	w.writeNow() // may be called after an error
	var why error
	for why == nil || !IsReset(why) { // the reader may have found the end before
		why = <-failed
	}
	<-w.ended
	if _, err := w.Write(pingRequest); err == nil {
		t.Error("the library can still write")
	}
	w.failAll()
	if !token.Answered() || !errors.Is(token.Error(), errNotAnswered) {
		t.Errorf("the token is answered %v, error %v", token.Answered(), token.Error())
	}
	w.drop()
}

// TestAwaitEndsWithTheAnswer, with the loss of the connection, and at once if there
// was an answer already.
func TestAwaitEndsWithTheAnswer(t *testing.T) {
	answers, broker := io.Pipe()
	w := newWire(&scripted{from: answers}, Limits{}, func(error) {})
	go io.Copy(io.Discard, w)
	broker.Write([]byte{0x20, 2, 0, 0})
	var tokens []*publication
	var ids []uint16
	for range 4 {
		tokens = append(tokens, w.publish(Message{Topic: "a"}).(*publication))
		ids = append(ids, w.flight.next-1)
	}
	ack := func(i int) { broker.Write([]byte{0x40, 2, byte(ids[i] >> 8), byte(ids[i])}) }

	second := w.await(tokens[1])
	ack(0)
	ack(1)
	<-second
	if !tokens[0].Answered() || !tokens[1].Answered() || tokens[2].Answered() {
		t.Error("after two answers:", tokens[0].Answered(), tokens[1].Answered(), tokens[2].Answered())
	}
	<-w.await(tokens[0])
	<-w.await(tokens[1])

	third := w.await(tokens[2])
	select {
	case <-third:
		t.Error("an answer of before ends the wait")
	default:
	}
	done := tokens[2].Done()
	ack(2)
	<-third
	<-done

	last := w.await(tokens[3])
	w.failAll()
	<-last
	if tokens[3].Error() == nil || tokens[2].Error() != nil {
		t.Error("errors:", tokens[2].Error(), tokens[3].Error())
	}
	broker.Close()
	w.drop()
}

// TestSilenceIsCountedFromTheLastByte, although the deadline of the socket is moved
// only when it passes.
func TestSilenceIsCountedFromTheLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 28 * time.Second
		near, far := net.Pipe() // has deadlines, and time is simulated
		counted := &deadlines{Conn: near}
		var failed time.Time
		w := newWire(counted, Limits{Write: 10 * time.Second, Silence: silence}, func(err error) {
			if !failed.IsZero() || !strings.HasPrefix(err.Error(), "nothing heard") {
				t.Error(err)
			}
			failed = time.Now()
		})
		w.direct = noSocket{}
		last := make(chan time.Time, 1)
		go func() {
			far.Write([]byte{0x20, 2, 0, 0})
			for range 100 {
				time.Sleep(silence / 10)
				far.Write([]byte{0xd0, 0})
			}
			last <- time.Now()
		}()
		n, _ := io.Copy(io.Discard, w)
		if quiet := failed.Sub(<-last); n != 4+100*2 || quiet != silence {
			t.Errorf("%d bytes were read, and it failed %v after the last", n, quiet)
		}
		if counted.set > 15 {
			t.Errorf("the deadline was moved %d times for 101 reads in ten times its length", counted.set)
		}
		w.drop()
		far.Close()
	})
}

// noSocket is a socket that nothing is written to.
type noSocket struct{ syscall.RawConn }

// deadlines counts how often a deadline for reading was set.
type deadlines struct {
	net.Conn
	set int
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set++
	return d.Conn.SetReadDeadline(t)
}
