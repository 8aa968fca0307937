package page

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/cmd/web"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A plainNode has one stream, whose number grows with each snapshot.
type plainNode struct {
	asked   atomic.Int64
	failing bool
}

func (n *plainNode) Snapshot(bool) status.Snapshot {
	seq, value := uint64(n.asked.Add(1)), 45.2
	return status.Snapshot{
		Node: status.Node{ClientID: "porch"},
		Link: status.Link{Connected: true, Server: "192.168.1.10:1883", MQTT: "5", RoundTrip: 0.02,
			CertExpires: 1_800_000_000_000, Unheard: map[string]uint64{"room": 5}},
		Queue:    status.Queue{Backlog: 3, Oldest: 1.5, Delivered: 7, Failing: n.failing},
		Clock:    status.Clock{Quality: "ok"},
		Problems: []string{},
		Streams: []status.Stream{
			{Name: "room", Unit: "%", Value: &value, Seq: seq, At: 1_763_640_000_123},
			{Name: `a"b\c`, Error: "gone", At: 1_763_640_000_000},
		},
		Outputs: []status.Output{
			{Name: "siren", Class: "siren", State: status.On, Since: 1_763_640_000_000, Until: 1_763_640_180_000},
			{Name: "valve", State: status.Unknown, Error: "no acknowledge", RestUntil: 1_763_640_060_000},
		},
		Arming: &status.Arming{State: "pending", Since: 1_763_640_000_000, Open: []string{"room"}},
	}
}

const goodToken = "0123456789abcdef"

// running serves a page and returns its URL for a browser. The page ends with the test, and
// Serve has to return then.
func running(t *testing.T, opt config.Status, node Node) (url string, log *bytes.Buffer) {
	t.Helper()
	listening := make(chan string, 1)
	opt.Listening = func(url string) { listening <- url }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	log = new(bytes.Buffer)
	go func() { ended <- Serve(ctx, &opt, node, slog.New(slog.NewTextHandler(log, nil))) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return <-listening, log
}

func get(t *testing.T, client *http.Client, url string, header ...string) (code int, body string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

func TestOtherSitesAreRefused(t *testing.T) {
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{})
	host := strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	for _, c := range []struct {
		code   int
		header []string
	}{
		{200, nil},
		{200, []string{"Host", "localhost:8080"}},
		{200, []string{"Host", "LOCALHOST."}},
		{200, []string{"Host", "[::1]:80"}},
		{200, []string{"Origin", "http://" + host}},
		{200, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}},
		{200, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}}, // a followed link
		{403, []string{"Host", "evil.example"}},
		{403, []string{"Host", "localhost.evil.example"}},
		{403, []string{"Host", "127.0.0.1.evil.example:80"}},
		{403, []string{"Host", "192.168.1.5"}},
		{403, []string{"Origin", "http://evil.example"}},
		{403, []string{"Origin", "null"}},
		{403, []string{"Origin", "http://127.0.0.1:1"}},
		{403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
	} {
		for _, path := range []string{"", "events", "metrics", "healthz", "status.json"} {
			if c.code == 200 && path == "events" {
				continue // the events never end
			}
			if code, body, _ := get(t, http.DefaultClient, url+path, c.header...); code != c.code {
				t.Errorf("/%s with %q: %d %.60q, want %d", path, c.header, code, body, c.code)
			}
		}
	}
}

func TestThePageIsReadOnly(t *testing.T) {
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		req, err := http.NewRequestWithContext(t.Context(), method, url+"status.json", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, answer.StatusCode)
		}
	}
}

// secret writes a file that only its owner can read.
func secret(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenIsRequired(t *testing.T) {
	opt := config.Status{Listen: "127.0.0.1:0", Token: mqtt.Secret{File: secret(t, "token", []byte(goodToken+"\n"))}}
	url, _ := running(t, opt, &plainNode{})
	withToken := strings.Replace(url, "//", "//me:"+goodToken+"@", 1) // as a browser does
	for _, c := range []struct {
		url, given string
		code       int
	}{
		{url, "", 401}, {url, "Bearer wrong", 401}, {url, "Basic !", 401}, {url, goodToken, 401}, {url, "Bearer ", 401},
		{url, "Bearer " + goodToken, 200}, {withToken, "", 200},
		{strings.Replace(withToken, goodToken, "x", 1), "", 401},
	} {
		header := []string{}
		if c.given != "" {
			header = []string{"Authorization", c.given}
		}
		for _, path := range []string{"", "metrics", "healthz", "status.json", "page.js"} {
			code, _, h := get(t, http.DefaultClient, c.url+path, header...)
			if code != c.code || c.code == 401 && !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic realm=") {
				t.Errorf("%s%s with %q: %d, want %d", c.url, path, c.given, code, c.code)
			}
		}
	}
}

// TestNetworkAccessNeedsTLSAndAToken makes the page listen as for a network, with its own
// certificate.
func TestNetworkAccessNeedsTLSAndAToken(t *testing.T) {
	made := httptest.NewUnstartedServer(nil)
	made.StartTLS()
	defer made.Close()
	key, err := x509.MarshalPKCS8PrivateKey(made.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	url, _ := running(t, config.Status{
		Listen: "127.0.0.1:0",
		Token:  mqtt.Secret{File: secret(t, "token", []byte(goodToken))},
		Cert:   secret(t, "cert.pem", block("CERTIFICATE", made.Certificate().Raw)),
		Key:    secret(t, "key.pem", block("PRIVATE KEY", key)),
	}, &plainNode{})
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("the page is at %s", url)
	}
	client := made.Client() // it trusts the certificate
	defer client.CloseIdleConnections()
	if code, _, _ := get(t, client, url+"status.json"); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	if code, _, _ := get(t, client, url+"status.json", "Authorization", "Bearer "+goodToken); code != http.StatusOK {
		t.Errorf("with the token: %d", code)
	}
	for host, want := range map[string]int{"example.com": http.StatusOK, "evil.example": http.StatusForbidden} {
		code, _, _ := get(t, client, url, "Authorization", "Bearer "+goodToken, "Host", host)
		if code != want {
			t.Errorf("as %s: %d, want %d", host, code, want)
		}
	}
	if p := negotiated(t, url); p != "http/1.1" {
		t.Errorf("the page speaks %q over TLS, and the released program only http/1.1", p)
	}
	plain := strings.Replace(url, "https://", "http://", 1)
	code, body, _ := get(t, http.DefaultClient, plain)
	if code != http.StatusBadRequest || strings.Contains(body, "porch") {
		t.Errorf("without TLS: %d %q", code, body)
	}
}

// negotiated is the protocol that the server at url chooses by ALPN where both are offered.
func negotiated(t *testing.T, url string) string {
	t.Helper()
	address := strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/")
	// The certificate is checked by the requests of the test.
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().NegotiatedProtocol
}

func TestErrorsAreFoundAtTheStart(t *testing.T) {
	ctx := t.Context()
	if err := Check(ctx, nil); err != nil {
		t.Error(err)
	}
	open := secret(t, "open.key", nil)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, opt := range map[string]config.Status{
		"has 5 characters, and needs at least 16": {Token: mqtt.Secret{File: secret(t, "t", []byte("short"))}},
		"status.tls: open /nowhere.pem":           {Cert: "/nowhere.pem", Key: "/nowhere.key"},
		"is open to every user of this machine":   {Cert: "/nowhere.pem", Key: open},
	} {
		if err := Check(ctx, &opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPageIsSmallAndSelfContained(t *testing.T) {
	s := newServer(&plainNode{}, nil)
	total := 0
	for path, a := range s.assets {
		if path != "/" {
			total += len(a.body)
		}
		text := strings.ReplaceAll(string(a.body), "http://www.w3.org/2000/svg", "")
		if strings.Contains(text, "://") || strings.Contains(text, `="//`) {
			t.Errorf("%s names another site", path)
		}
		if a.kind == "" {
			t.Errorf("%s has no media type", path)
		}
	}
	if total > 100_000 {
		t.Errorf("the page has %d bytes, more than 100 kB", total)
	}
}

func TestAssetsAreCached(t *testing.T) {
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{})
	code, body, h := get(t, http.DefaultClient, url)
	if code != 200 || !strings.Contains(body, "<title>holdfast</title>") ||
		!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %.80q", code, body)
	}
	if code, body, _ := get(t, http.DefaultClient, url, "If-None-Match", h.Get("ETag")); code != 304 || body != "" {
		t.Errorf("again: %d %.80q", code, body)
	}
	if code, _, _ := get(t, http.DefaultClient, url+"../page.go"); code != 404 {
		t.Errorf("something else: %d", code)
	}
}

// readEvent reads one server-sent event.
func readEvent(t *testing.T, r *bufio.Reader) (name string, s status.Snapshot) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" {
			return name, s
		}
		if text, ok := strings.CutPrefix(line, "event: "); ok {
			name = strings.TrimSpace(text)
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEventsSendASnapshotAndThenChanges(t *testing.T) {
	node := &plainNode{}
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, node)
	answer, err := http.Get(url + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	r := bufio.NewReader(answer.Body)
	name, first := readEvent(t, r)
	if name != "snapshot" || len(first.Streams) != 2 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("first %s with %+v", name, first.Streams)
	}
	readEvent(t, r) // the first snapshot of the hub contains everything
	name, next := readEvent(t, r)
	if name != "change" || len(next.Streams) != 1 || next.Streams[0].Name != "room" ||
		next.Streams[0].Seq <= first.Streams[0].Seq {
		t.Errorf("then %s with %+v, want the stream that changed", name, next.Streams)
	}
}

func TestAUnixSocketServesThePage(t *testing.T) {
	dir, err := os.MkdirTemp("", "hf") // the length of a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "status.sock")
	running(t, config.Status{Listen: "unix:" + path}, &plainNode{})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	if code, body, _ := get(t, client, "http://node.example/healthz"); code != 200 || !strings.HasPrefix(body, "ok\n") {
		t.Errorf("%d %q", code, body)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("the socket: %v, %v", info, err)
	}
	client.CloseIdleConnections()
}

func TestPortInUseIsAWarning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	warned := &watcher{Writer: &log, written: make(chan bool, 9)}
	ended := make(chan error, 1)
	go func() {
		opt := config.Status{Listen: l.Addr().String()}
		ended <- Serve(ctx, &opt, &plainNode{}, slog.New(slog.NewTextHandler(warned, nil)))
	}()
	<-warned.written
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.Contains(log.String(), "set another status.listen") {
		t.Errorf("%v, the log says %q", err, log.String())
	}
}

// watcher reports that something was written.
type watcher struct {
	io.Writer
	written chan bool
}

func (w *watcher) Write(p []byte) (int, error) {
	defer func() { w.written <- true }()
	return w.Writer.Write(p)
}

func TestTooManyConnectionsAreClosed(t *testing.T) {
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{})
	host := strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	for range web.MaxConns {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	over, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	over.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := over.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection more is not closed: %v", err)
	}
}

func TestHealthFailsOnlyWithTheDisk(t *testing.T) {
	for failing, code := range map[bool]int{false: 200, true: 503} {
		url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{failing: failing})
		got, body, _ := get(t, http.DefaultClient, url+"healthz")
		if got != code || !strings.Contains(body, "backlog 3\n") {
			t.Errorf("failing %v: %d %q", failing, got, body)
		}
	}
}
