package main

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// webBroker is Mosquitto with a WebSocket port and a plain one.
func webBroker(t *testing.T, tls string) (b *mosquitto, web string) {
	t.Helper()
	web = freeAddr(t)
	_, port, _ := net.SplitHostPort(web)
	return startMosquitto(t, fmt.Sprintf("listener %s 127.0.0.1\nprotocol websockets\n%s", port, tls)), web
}

// A proxy accepts CONNECT and connects every name to one address.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	asked []string // for whom
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.carry(conn)
		}
	}()
	return p
}

func (p *proxy) carry(near net.Conn) {
	defer near.Close()
	in := bufio.NewReader(near)
	req, err := http.ReadRequest(in)
	if err != nil || req.Method != http.MethodConnect {
		io.WriteString(near, "HTTP/1.1 405 Method Not Allowed\r\n\r\n")
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, req.Host)
	p.mu.Unlock()
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		io.WriteString(near, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer far.Close()
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		io.Copy(near, far)
		near.Close()
	}()
	io.Copy(far, in)
}

func (p *proxy) hosts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, " ")
}

func webAgent(t *testing.T, server, tls string) *agent {
	t.Helper()
	return newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {server: \"%s\"%s}\nqueue: {path: %%DIR%%/queue.db}\nsensors:\n"+
			"  load: {kind: simulated, counter: {}, every: 50ms}\n", server, tls))
}

// delivers runs an agent until enough readings have arrived.
func (a *agent) delivers(t *testing.T, s *subscriber) {
	t.Helper()
	a.start()
	eventually(t, time.Minute, "readings arrive", func() bool { return s.count("store/load") > 50 })
	a.stop()
	eventually(t, time.Minute, "the status is offline", func() bool { return s.last("/agent/status").raw == "offline" })
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	b, web := webBroker(t, "")
	webAgent(t, "ws://"+web+"/mqtt", "").delivers(t, subscribe(t, b.addr, "store/#"))
}

// TestWebSocketThroughAProxy: the proxy is on loopback, and only the proxy knows the
// broker's name. By Go's convention a broker on 127.0.0.1 or localhost is never connected
// through a proxy.
func TestWebSocketThroughAProxy(t *testing.T) {
	t.Parallel()
	b, web := webBroker(t, "")
	p := newProxy(t, web)
	a := webAgent(t, "ws://broker.test:8083/mqtt", "")
	a.env = []string{"http_proxy=http://" + p.listener.Addr().String(), "no_proxy="}
	a.delivers(t, subscribe(t, b.addr, "store/#"))
	if got := p.hosts(); got != "broker.test:8083" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestSecureWebSocketThroughAProxy(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.issue(t, "broker", &x509.Certificate{DNSNames: []string{"broker.test"}})
	b, web := webBroker(t, fmt.Sprintf("certfile %s\nkeyfile %s\n", c.path("broker.pem"), c.path("broker.key")))
	p := newProxy(t, web)
	a := webAgent(t, "wss://broker.test/mqtt", fmt.Sprintf(", tls: {ca: %s}", c.path("ca.pem")))
	a.env = []string{"https_proxy=http://" + p.listener.Addr().String(), "no_proxy="}
	a.delivers(t, subscribe(t, b.addr, "store/#"))
	if got := p.hosts(); got != "broker.test:443" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestProxyRefusalIsReported(t *testing.T) {
	t.Parallel()
	p := newProxy(t, freeAddr(t)) // nothing listens there
	a := webAgent(t, "ws://broker.test/mqtt", "")
	a.env = []string{"http_proxy=http://" + p.listener.Addr().String(), "no_proxy="}
	a.start()
	eventually(t, time.Minute, "the log says what the proxy says", func() bool {
		return strings.Contains(a.log.String(), "Bad Gateway")
	})
	a.stop()
}
