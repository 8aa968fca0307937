package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/web"
)

// The files of the page. An embed.FS would add 13 kB to the program on ARMv6.
var (
	//go:embed assets/index.html
	indexHTML []byte
	//go:embed assets/page.css
	pageCSS []byte
	//go:embed assets/page.js
	pageJS []byte
	//go:embed assets/icon.svg
	iconSVG []byte
)

// An asset is a file of the page, as it is sent.
type asset struct {
	body []byte
	kind string // its media type
	etag string
}

// newAsset returns a file of the page. Its ETag is a part of its SHA-256 sum, so a browser loads
// it again after an update of the agent and not before.
func newAsset(body []byte, kind string) asset {
	sum := sha256.Sum256(body)
	return asset{body, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// A server answers requests, each in its own goroutine. Its only state is the hub; all
// other fields are set by newServer and never changed, so they need no lock.
type server struct {
	node   Node
	access *web.Access
	hub    *hub
	assets map[string]asset // by path
}

// newServer returns a server of the page's files. The media types are listed here because package
// mime would use the tables of the machine, which may differ, and browsers are told not to guess.
func newServer(node Node, a *web.Access) *server {
	index := newAsset(indexHTML, "text/html; charset=utf-8")
	return &server{node: node, access: a, hub: newHub(node), assets: map[string]asset{
		"/":           index,
		"/index.html": index,
		"/page.css":   newAsset(pageCSS, "text/css; charset=utf-8"),
		"/page.js":    newAsset(pageJS, "text/javascript; charset=utf-8"),
		"/icon.svg":   newAsset(iconSVG, "image/svg+xml"),
	}}
}

// policy allows the page to use only what comes from the node itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers one request. The security headers are part of every answer, including
// refusals.
//
// Access is checked before the path, so a refused client does not learn which paths exist.
// Each answer has to be taken within writeTimeout, except for the events, which set this
// limit for each event.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.Protect(w.Header(), policy)
	if code, why := s.access.Refuse(w.Header(), r); code != 0 {
		http.Error(w, why, code)
		return
	}
	if r.URL.Path == "/events" {
		s.events(w, r)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	switch a, ok := s.assets[r.URL.Path]; {
	case ok:
		s.sendAsset(w, r, a)
	case r.URL.Path == "/metrics":
		s.metrics(w, r)
	case r.URL.Path == "/healthz":
		s.health(w)
	case r.URL.Path == "/status.json":
		s.snapshot(w)
	default:
		http.NotFound(w, r)
	}
}

// snapshot sends the state of the node, including the values of the last hour.
func (s *server) snapshot(w http.ResponseWriter) {
	text, err := json.Marshal(s.node.Snapshot(true))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

// sendAsset sends a file of the page, unless the browser has it already.
func (s *server) sendAsset(w http.ResponseWriter, r *http.Request, a asset) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // the browser asks each time, and is answered with 304
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(a.body)
}

// health reports whether the agent works. A restart does not help when the broker is away,
// so the answer is 503 only while the disk does not accept readings.
func (s *server) health(w http.ResponseWriter) {
	now := s.node.Snapshot(false)
	word, code := "ok", http.StatusOK
	if now.Queue.Failing {
		word, code = "the disk fails", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintf(w, "%s\nconnected %v\nbacklog %d\noldest %.0f s\nclock %s\n",
		word, now.Link.Connected, now.Queue.Backlog, now.Queue.Oldest, now.Clock.Quality)
}

// events sends the whole snapshot, and then the changes, as server-sent events.
//
// It joins the feed before it takes the snapshot, so that no change in between is lost; one
// may be sent twice, which does no harm. It ends when the viewer disconnects or is too
// slow, or the page ends; a browser then reconnects automatically.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	feed, leave := s.hub.join()
	if feed == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are open: close one", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer events
	out := http.NewResponseController(w)
	send := func(event string, data []byte) bool { // false: the viewer is gone, or does not read
		out.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
		return err == nil && out.Flush() == nil
	}
	all, err := json.Marshal(s.node.Snapshot(true))
	if err != nil || r.Method == http.MethodHead || !send("snapshot", all) {
		return
	}
	for {
		select {
		case data, ok := <-feed:
			if !ok || !send("change", data) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// wantsOpenMetrics reports which of the two text formats a scraper lists first. Weights
// (;q=) are not compared: scrapers name OpenMetrics only if they prefer it.
func wantsOpenMetrics(accept string) bool {
	return strings.Contains(accept, "application/openmetrics-text")
}
