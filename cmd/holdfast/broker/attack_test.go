package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

const patience = time.Minute // longer than any wait of these tests on a slow machine

// start starts a broker with the given limits.
func start(t *testing.T, lim limits, log *slog.Logger) *Broker {
	t.Helper()
	b, err := listen("127.0.0.1:0", "s3cret", lim, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func dial(t *testing.T, b *Broker) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// A peer is a client with the minimum of MQTT 3.1.1 that an attack needs.
type peer struct {
	*net.TCPConn
	in *bufio.Reader
}

// text is a string with its length prefix.
func text(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func packet(kind byte, body string) []byte {
	head, n := []byte{kind}, len(body)
	for ; n > 127; n >>= 7 {
		head = append(head, byte(n)|0x80)
	}
	return append(append(head, byte(n)), body...)
}

const clean, kept = 0xc2, 0xc0 // flags of CONNECT, all with a user name and a password

// join connects with the password; it returns nil if the broker refuses.
func join(t *testing.T, b *Broker, id string, flags byte) *peer {
	t.Helper()
	p := &peer{TCPConn: dial(t, b)}
	p.in = bufio.NewReader(p.TCPConn)
	p.Write(packet(0x10, text("MQTT")+"\x04"+string([]byte{flags})+"\x00\x00"+text(id)+text("u")+text("s3cret")))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(p.in, answer); err != nil || answer[0] != 0x20 || answer[3] != 0 {
		return nil
	}
	return p
}

// subscribe subscribes and waits for the answer.
func (p *peer) subscribe(filters ...string) (refused bool) {
	body := "\x00\x01"
	for _, f := range filters {
		body += text(f) + "\x01"
	}
	p.Write(packet(0x82, body))
	kind, answer := p.next()
	return kind != 0x90 || answer[2] == 0x80
}

// publish sends a message of QoS 1 and waits for its acknowledgement.
func (p *peer) publish(t *testing.T, flags byte, topic, payload string) {
	t.Helper()
	p.Write(packet(0x32|flags, text(topic)+"\x00\x07"+payload))
	if kind, _ := p.next(); kind != 0x40 {
		t.Fatalf("publish to %.40s: got a packet of kind %#x", topic, kind)
	}
}

const retain = 0x01

// next reads a packet; its kind is 0 if the connection has ended.
func (p *peer) next() (kind byte, body []byte) {
	kind, err := p.in.ReadByte()
	n, shift := 0, 0
	for more := true; more && err == nil; shift += 7 {
		var c byte
		c, err = p.in.ReadByte()
		n, more = n|int(c&0x7f)<<shift, c&0x80 != 0
	}
	body = make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(p.in, body)
	}
	if err != nil {
		return 0, nil
	}
	return kind, body
}

// ended reports whether the broker has closed a connection.
func ended(conn net.Conn) bool {
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

func (b *budget) used() (sum, shares, kept, topics int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sum, len(b.shares), b.kept, len(b.retained)
}

func TestConnectionWithoutCONNECTIsClosed(t *testing.T) {
	lim := defaultLimits
	lim.connect = 50 * time.Millisecond
	b := start(t, lim, quietLog())
	silent, trickling := dial(t, b), dial(t, b)
	trickling.Write([]byte("\x10"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10000 {
			if _, err := trickling.Write([]byte("\x00")); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // a byte from time to time does not keep the connection open
		}
	})
	if !ended(silent) || !ended(trickling) {
		t.Error("a connection is open without a CONNECT")
	}
	trickling.Close()
	wg.Wait()
}

func TestOldestIdleConnectionIsClosedForAClient(t *testing.T) {
	lim := defaultLimits
	lim.connect = time.Hour
	b := start(t, lim, quietLog())
	var idle []net.Conn
	for range 100 {
		idle = append(idle, dial(t, b))
	}
	if join(t, b, "agent", clean) == nil {
		t.Fatal("no client is let in while others are idle")
	}
	open := len(idle) - lim.pending
	for i, conn := range idle[:open] {
		if !ended(conn) {
			t.Fatalf("connection %d of %d is open, though only %d may be", i, len(idle), lim.pending)
		}
	}
}

func TestLargeCONNECTIsRefusedByItsHeader(t *testing.T) {
	b := start(t, defaultLimits, quietLog())
	for _, head := range []string{"\x10\xff\xff\x3f", "\x10\x81\x80\x01", "GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02\x00"} {
		conn := dial(t, b)
		io.WriteString(conn, head)
		if !ended(conn) {
			t.Errorf("%q: the connection is open", head)
		}
	}
}

func TestNumberOfClientsIsLimited(t *testing.T) {
	lim := defaultLimits
	lim.clients = 5
	b := start(t, lim, quietLog())
	for i := range lim.clients {
		if join(t, b, fmt.Sprint("c", i), clean) == nil {
			t.Fatalf("client %d is refused", i)
		}
	}
	if join(t, b, "one-more", clean) != nil {
		t.Error("one more client is let in")
	}
}

// flood publishes more than the limit of a client's queue. It returns how many messages a
// subscriber got that reads and acknowledges them; at most ten are queued for that one.
func flood(t *testing.T, b *Broker, filter string) int {
	t.Helper()
	reader, writer := join(t, b, "reader", clean), join(t, b, "writer", clean)
	reader.subscribe(filter)
	const messages, size = 200, 10_000
	window, got := make(chan bool, 10), make(chan int)
	go func() {
		n := 0
		for ; n < messages; n++ {
			kind, body := reader.next()
			if kind&0xf0 != 0x30 {
				break
			}
			topic := int(body[0])<<8 | int(body[1])
			reader.Write(packet(0x40, string(body[2+topic:4+topic])))
			<-window
		}
		reader.Close()
		got <- n
	}()
	for range messages {
		select {
		case window <- true:
		case n := <-got: // the reader has ended
			return n
		}
		writer.publish(t, 0, "c/x", strings.Repeat("x", size))
		if sum, _, _, _ := b.budget.used(); sum > b.budget.total {
			t.Errorf("%d bytes are kept", sum)
		}
	}
	return <-got
}

func TestSlowSubscriberIsDisconnected(t *testing.T) {
	lim := defaultLimits
	lim.waiting, lim.total = 400_000, 1_000_000
	b := start(t, lim, quietLog())
	noReads, noAcks := join(t, b, "no-reads", clean), join(t, b, "no-acks", clean)
	noReads.SetReadBuffer(1 << 12) // a client that reads nothing
	noReads.subscribe("c/#")
	noAcks.subscribe("c/#") // a client that reads, and acknowledges nothing
	noAcksEnded := make(chan bool)
	go func() { noAcksEnded <- ended(noAcks) }()
	if got := flood(t, b, "c/#"); got != 200 {
		t.Errorf("a good subscriber got %d of 200", got)
	}
	if !<-noAcksEnded {
		t.Error("a client that acknowledges nothing is connected")
	}
	waitFor(t, "the client that does not read is ended", func() bool {
		cl, ok := b.server.Clients.Get("no-reads")
		return !ok || cl.Closed()
	})
	n := 0
	waitFor(t, "nothing is counted for those that have gone", func() bool {
		n++
		join(t, b, fmt.Sprint("next", n), clean).Close() // what was on the way to one that left is forgotten then
		sum, _, _, _ := b.budget.used()
		return sum == 0
	})
}

// waitFor waits for a condition, for a minute at most.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 6000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

// A write to a client that reads nothing has a timeout, even if nothing else is published.
func TestWriteTimeoutClosesTheConnection(t *testing.T) {
	lim := defaultLimits
	lim.write = 100 * time.Millisecond
	b := start(t, lim, quietLog())
	noReads, writer := join(t, b, "no-reads", clean), join(t, b, "writer", clean)
	noReads.subscribe("#")
	for range 15 { // more than the kernel buffers, and less than the limit
		writer.publish(t, 0, "a", strings.Repeat("x", 1_000_000))
	}
	waitFor(t, "the client is ended", func() bool {
		cl, ok := b.server.Clients.Get("no-reads")
		return !ok || cl.Closed()
	})
}

func TestRetainedMessagesAreLimited(t *testing.T) {
	lim := defaultLimits
	lim.retained, lim.topics = 100_000, 50
	b := start(t, lim, quietLog())
	p := join(t, b, "p", clean)
	for i := range 20 {
		p.publish(t, retain, fmt.Sprint("large/", i), strings.Repeat("x", 10_000))
	}
	for i := range 100 {
		p.publish(t, retain, fmt.Sprint("small/", i), "x")
	}
	stored := func() (n, size int) {
		for topic, pk := range b.server.Topics.Retained.GetAll() {
			if !strings.HasPrefix(topic, "$SYS") {
				n, size = n+1, size+len(pk.Payload)
			}
		}
		return n, size
	}
	n, size := stored()
	_, _, keptBytes, topics := b.budget.used()
	if n > lim.topics || size > lim.retained || n != topics || keptBytes > lim.retained || n < 10 {
		t.Errorf("%d messages of %d bytes are retained; counted are %d of %d", n, size, topics, keptBytes)
	}
	for i := range 20 {
		p.publish(t, retain, fmt.Sprint("large/", i), "")
	}
	for i := range 100 {
		p.publish(t, retain, fmt.Sprint("small/", i), "")
	}
	if n, _ := stored(); n != 0 {
		t.Errorf("%d messages are retained after they were cleared", n)
	}
	if _, _, keptBytes, topics := b.budget.used(); keptBytes != 0 || topics != 0 {
		t.Errorf("%d messages of %d bytes are counted after they were cleared", topics, keptBytes)
	}
}

func TestNumberOfSessionsIsLimited(t *testing.T) {
	lim := defaultLimits
	lim.sessions, lim.waiting, lim.total = 10, 50_000, 200_000
	b := start(t, lim, quietLog())
	writer := join(t, b, "writer", clean)
	for i := range 40 {
		p := join(t, b, fmt.Sprint("s", i), kept)
		if p == nil {
			t.Fatalf("client %d is refused", i)
		}
		p.subscribe(fmt.Sprintf("t%d/#", i), "all")
		p.Close()
		waitFor(t, "the broker notices that it left", func() bool {
			cl, ok := b.server.Clients.Get(fmt.Sprint("s", i))
			return !ok || cl.Closed()
		})
	}
	for range 100 {
		writer.publish(t, 0, "all", strings.Repeat("x", 5000))
		if sum, _, _, _ := b.budget.used(); sum > lim.total {
			t.Errorf("%d bytes are kept for clients that have left", sum)
		}
	}
	if n := b.server.Clients.Len(); n > lim.sessions+1 {
		t.Errorf("%d sessions are kept", n)
	}
	if n := len(b.server.Topics.Subscribers("t0/x").Subscriptions); n != 0 {
		t.Error("a session that was dropped still has its subscription")
	}
}

func TestSubscriptionsAndTopicsAreLimited(t *testing.T) {
	lim := defaultLimits
	lim.filters = 20
	b := start(t, lim, quietLog())
	p := join(t, b, "p", clean)
	for i := range 100 {
		p.subscribe(fmt.Sprint("f/", i))
	}
	cl, _ := b.server.Clients.Get("p")
	if n := cl.State.Subscriptions.Len(); n > lim.filters+1 {
		t.Errorf("%d subscriptions are kept", n)
	}
	deep := join(t, b, "deep", clean)
	for _, filter := range []string{strings.Repeat("a/", maxLevels) + "#", strings.Repeat("a", maxTopic+1)} {
		if !deep.subscribe(filter) {
			t.Errorf("%.20s...: is taken", filter)
		}
	}
}

func TestAPortScanIsOneLineInTheLog(t *testing.T) {
	var out child.Log
	b, err := listen("127.0.0.1:0", "s3cret", defaultLimits,
		slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		dial(t, b).Close()
		connect(t, b, "guess!")
		conn := dial(t, b)
		io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		ended(conn)
	}
	p := join(t, b, "p", clean)
	p.Write(packet(0x10, strings.Repeat("x", 100_000))) // a second CONNECT, which the library logs
	ended(p)
	b.Close()
	said := out.String()
	if lines := strings.Count(said, "\n"); lines == 0 || lines > 8 || len(said) > 4000 {
		t.Errorf("%d lines, %d bytes:\n%.4000s", lines, len(said), said)
	}
}

// short is a listener that fails for a while, as in a process without free file
// descriptors.
type short struct {
	net.Listener
	mu    sync.Mutex
	fails int
}

func (s *short) Accept() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

func TestAcceptContinuesAfterAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(&short{Listener: l, fails: 3}, defaultLimits, quietLog())
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := g.accept(); err != nil {
		t.Errorf("got %v", err)
	}
	g.Close(func(string) {})
	if _, err := g.accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// Close also waits for connections that are being accepted, and leaves none open.
func TestCloseEndsEveryConnection(t *testing.T) {
	for range 20 {
		b, err := listen("127.0.0.1:0", "s3cret", defaultLimits, quietLog())
		if err != nil {
			t.Fatal(err)
		}
		conns := []net.Conn{dial(t, b), dial(t, b), dial(t, b)}
		conns[1].Write(packet(0x10, text("MQTT")+"\x04\xc2\x00\x00"+text("a")+text("u")+text("s3cret")))
		b.Close()
		for i, conn := range conns {
			if !ended(conn) {
				t.Errorf("connection %d is open", i)
			}
		}
	}
}
