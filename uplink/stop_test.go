package uplink

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

const stopTime = 5 * time.Second // that the end of the agent may take

// A stuckConn takes nothing more once it is stuck: what is published waits until
// the connection is closed.
type stuckConn struct {
	*fakeConn
	stuck <-chan struct{}
}

func (c stuckConn) Publish(m Message) Token {
	select {
	case <-c.stuck:
		<-c.lost
	default:
	}
	return c.fakeConn.Publish(m)
}

func TestTheEndDoesNotWaitForTheBroker(t *testing.T) {
	for name, disable := range map[string]func(br *broker, stick func()){
		"in order":             func(*broker, func()) {},
		"acknowledges nothing": func(br *broker, _ func()) { br.set(func() { br.acksNothing = true }) },
		"reads nothing":        func(_ *broker, stick func()) { stick() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				br, bl, stuck := &broker{retained: map[string]string{}}, openBacklog(t), make(chan struct{})
				dial := func(ctx context.Context, will Message) (Conn, error) {
					conn, err := br.dial(ctx, will)
					return stuckConn{conn.(*fakeConn), stuck}, err
				}
				l := New(Options{ClientID: "porch", Topics: payload.DefaultPatterns, Boot: bl.Boot(), Report: bl.Report, Stats: bl.Stats,
					Clock: clock.NewTimekeeper(clock.TrustAlways), Streams: []sensors.Stream{{Name: "room"}}}, bl, dial, slog.New(slog.DiscardHandler))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { l.Run(ctx); close(done) }()
				time.Sleep(2 * time.Second)
				disable(br, func() { close(stuck) })
				bl.put(reading("room", 1))
				time.Sleep(time.Second)
				stop()
				stopped := time.Now()
				<-done
				if took := time.Since(stopped); took > stopTime {
					t.Errorf("the end took %v", took)
				}
			})
		})
	}
}

// halfAnswers is a server that begins to answer each request, and says nothing
// more. It tells of each.
func halfAnswers(t *testing.T, begin string) (addr string, asked <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan struct{}, 8)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				io.WriteString(conn, begin)
				requests <- struct{}{}
				io.Copy(io.Discard, in)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String(), requests
}

// The limits are an hour: what comes back, comes because it was told to stop.
func TestAConnectionThatHangsIsLeftAtTheEnd(t *testing.T) {
	a := newAuthority(t)
	pipe := a.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, c := range map[string]struct {
		scheme, begin string
		password, ca  string
	}{
		"half a line of a WebSocket's answer": {scheme: "ws", begin: "HTTP/1.1 101 Swit"},
		"half its header":                     {scheme: "ws", begin: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"},
		"no answer to TLS":                    {scheme: "mqtts"},
		"none to TLS of a WebSocket":          {scheme: "wss"},
		"none to CONNECT":                     {scheme: "mqtt"},
		"a password in a pipe":                {scheme: "mqtt", password: pipe},
		"a CA in a pipe":                      {scheme: "mqtts", ca: pipe},
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := silent.Addr().String(), make(<-chan struct{})
			if c.begin != "" {
				addr, asked = halfAnswers(t, c.begin)
			}
			opt := Options{ClientID: "porch", KeepAlive: 15 * time.Second, Servers: []*url.URL{{Scheme: c.scheme, Host: addr}},
				Password: Secret{File: c.password}, TLS: TLS{CA: c.ca},
				limits: limits{connect: time.Hour, write: time.Hour, silence: time.Hour, ping: time.Hour, ack: time.Hour, proof: time.Hour}}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() {
				_, err := DialMQTT(opt)(ctx, Message{})
				ended <- err
			}()
			if c.begin != "" {
				<-asked
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A pipe is read once at a time, however often it is asked for; what comes late
// is for the next who asks.
func TestAPipeIsReadOnceAtATime(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 100 {
		if _, err := (Secret{File: pipe}).Read(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "s3cret\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := (Secret{File: pipe}).Read(t.Context()); got != "s3cret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	pendingReads.Lock()
	defer pendingReads.Unlock()
	if pendingReads.of[pipe] != nil {
		t.Error("the read is kept after it was taken")
	}
}
