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

// The page and uPlot 1.6.32 (npm), which draws the curves, with its licence. Nothing comes
// from elsewhere.
//
//go:embed assets
var assets embed.FS

// mediaTypes are written here: package mime would ask the machine, which may say
// something else, and browsers are told to believe it.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	"":      "text/plain; charset=utf-8", // the licence
}

// addAssets serves each file of the page at its name.
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
		panic("page: " + err.Error()) // it is in the binary
	}
}

// sendFile sends a file of the binary, unless the client has it already: its tag is a part
// of its SHA-256 sum.
func sendFile(w http.ResponseWriter, r *http.Request, kind string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache") // it is asked for again, and then not sent again
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Write(body)
}
