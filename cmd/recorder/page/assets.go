package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// The page, and uPlot 1.6.32 (npm) for its charts, with the licence. The page loads nothing
// from other servers.
//
//go:embed assets
var assets embed.FS

// mediaTypes are fixed here: package mime reads tables of the machine, which may differ, and
// "nosniff" makes browsers trust the header.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	"":      "text/plain; charset=utf-8", // the licence
}

// addAssets registers each file of the page under its name.
func (s *server) addAssets() {
	err := fs.WalkDir(assets, "assets", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assets.ReadFile(file)
		at := strings.TrimPrefix(file, "assets")
		if at == "/index.html" {
			at = "/{$}"
		}
		s.mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) {
			sendFile(w, r, mediaTypes[path.Ext(file)], body)
		})
		return err
	})
	if err != nil {
		panic("page: " + err.Error()) // cannot happen: the files are embedded
	}
}

// sendFile sends an embedded file, or 304 if the client has it. The ETag is a part of its
// SHA-256 sum.
func sendFile(w http.ResponseWriter, r *http.Request, kind string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache") // the client may keep it, but must ask whether it changed
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Write(body)
}
