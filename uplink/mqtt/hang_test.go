package mqtt

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

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

// The limits are an hour: what comes back, comes because its context is done.
func TestDialEndsWithItsContext(t *testing.T) {
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
		"half its header": {scheme: "ws",
			begin: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"},
		"no answer to TLS":           {scheme: "mqtts"},
		"none to TLS of a WebSocket": {scheme: "wss"},
		"none to CONNECT":            {scheme: "mqtt"},
		"a password in a pipe":       {scheme: "mqtt", password: pipe},
		"a CA in a pipe":             {scheme: "mqtts", ca: pipe},
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := silent.Addr().String(), make(<-chan struct{})
			if c.begin != "" {
				addr, asked = halfAnswers(t, c.begin)
			}
			opt := Broker{ClientID: "porch", KeepAlive: 15 * time.Second,
				Servers: []*url.URL{{Scheme: c.scheme, Host: addr}}, Password: Secret{File: c.password},
				TLS:    TLS{CA: c.ca},
				Limits: Limits{Connect: time.Hour, Write: time.Hour, Silence: time.Hour}}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() {
				_, err := NewDialer(opt).Dial(ctx, Message{})
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
// is for the next caller.
func TestAPipeHasOneReadAtATime(t *testing.T) {
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
