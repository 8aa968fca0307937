package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that they follow synctest's clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that announces a body and does not send it loses its connection after a while,
// even if it is authorized: the number of connections is limited.
func TestMissingBodyEndsTheConnection(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			l := &pipes{make(chan net.Conn), make(chan struct{})}
			done := make(chan error)
			go func() {
				done <- Serve(ctx, l, Secrets{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
				}), slog.New(slog.DiscardHandler))
			}()
			client, server := net.Pipe()
			l.conns <- server
			began := time.Now()
			fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
			client.SetReadDeadline(began.Add(time.Hour))
			answer, err := io.ReadAll(client)
			if took := time.Since(began); err != nil || took > idleTimeout ||
				!strings.Contains(string(answer), fmt.Sprint(status)) {
				t.Errorf("%v after %v: %q", err, took, answer)
			}
			client.Close()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// A stream of events goes on for longer than a request may take to arrive.
func TestLongAnswerIsNotCutByTheReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		done := make(chan error)
		const length = time.Hour
		go func() {
			done <- Serve(ctx, l, Secrets{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(length):
					io.WriteString(w, "all of it")
				case <-r.Context().Done():
				}
			}), slog.New(slog.DiscardHandler))
		}()
		client, server := net.Pipe()
		l.conns <- server
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(client); err != nil || !strings.HasSuffix(string(answer), "all of it") {
			t.Errorf("%v: %q", err, answer)
		}
		client.Close()
		cancel()
		<-done
	})
}
