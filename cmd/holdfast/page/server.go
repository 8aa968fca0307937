package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/web"
)

//go:embed assets
var assets embed.FS

// An asset is a file of the page, as it is sent.
type asset struct {
	body []byte
	kind string // its media type
	etag string
}

// mediaTypes are written here: package mime would ask the machine, which may say
// something else, and browsers are told to believe it.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// A server answers requests. It has no state but its hub; all other fields are set by
// newServer and not changed, so requests share it without a lock. Each request has a
// goroutine of its own.
type server struct {
	node   Node
	access *web.Access
	hub    *hub
	assets map[string]asset // by path
}

// newServer returns a server whose assets are read from the binary, once. The tag of an
// asset is a part of its SHA-256 sum: a browser loads it again after an update of the
// agent and not before.
func newServer(node Node, a *web.Access) *server {
	s := &server{node: node, access: a, hub: newHub(node), assets: map[string]asset{}}
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic("page: " + err.Error()) // it is in the binary
	}
	for _, f := range files {
		body, err := assets.ReadFile("assets/" + f.Name())
		if err != nil {
			panic("page: " + err.Error())
		}
		sum := sha256.Sum256(body)
		s.assets["/"+f.Name()] = asset{body, mediaTypes[path.Ext(f.Name())], `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	s.assets["/"] = s.assets["/index.html"]
	return s
}

// policy lets the page use what comes from the node itself, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers one request. The headers that protect the page go with every answer,
// refusals too.
//
// Whether a request is allowed is decided before its path is looked at: one that is
// refused does not learn what exists. All answers but the events have to be taken
// within writeTimeout; the events set this limit for each of them.
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

// snapshot sends all that the node knows, the values of the last hour included.
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
	h.Set("Cache-Control", "no-cache") // it is asked for again, and then not sent again
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(a.body)
}

// health says whether the agent does what it is for. That the broker is away is no
// reason to restart it: the answer is 503 only while the disk does not take what
// has to survive.
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

// events sends the whole snapshot, and then what changes, as server-sent events.
//
// The feed is joined before the snapshot is taken, so that no change is lost between
// the two; one may come twice, which does no harm. It ends when the viewer goes, is too
// slow, or the page ends; a browser then connects again by itself.
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
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := http.NewResponseController(w)
	send := func(event string, data []byte) bool { // false: the viewer is gone, or takes nothing
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

// wantsOpenMetrics says which of the two text formats a scraper asks for first. Weights
// (;q=) are not compared: scrapers name this type only if they prefer it.
func wantsOpenMetrics(accept string) bool {
	return strings.Contains(accept, "application/openmetrics-text")
}
