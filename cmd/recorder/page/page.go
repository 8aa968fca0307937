// Package page serves the history over HTTP: a JSON API for the fleet, the streams of a
// device, and one stream in buckets, and a web page that uses it. openapi.json describes the
// API.
//
// All of it is read-only. Package web checks which requests are allowed, as for the agent's
// page.
package page

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/web"
	"github.com/holdfast-iot/holdfast/config"
)

// Serve serves the page until ctx is done, and returns ctx.Err(). If the page cannot be served
// it logs a warning and tries again: recording does not depend on the page.
func Serve(ctx context.Context, opt *config.Status, s *store.Store, log *slog.Logger) error {
	return web.Keep(ctx, opt, log, func() error { return serve(ctx, opt, s, log) })
}

// serve serves the page until ctx is done, or returns why it cannot.
func serve(ctx context.Context, opt *config.Status, s *store.Store, log *slog.Logger) error {
	secrets, err := web.ReadSecrets(ctx, opt)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", opt.Listen)
	if err != nil {
		return err
	}
	url := web.Address(opt, listener, secrets)
	log.Info("page and HTTP API", "url", url)
	if opt.Listening != nil {
		opt.Listening(url)
	}
	return web.Serve(ctx, listener, secrets, newServer(s, web.NewAccess(opt, secrets), log), log)
}

// policy allows the page only files and requests of the recorder itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A server answers requests. Its fields are set by newServer and not changed, so that
// requests share it without a lock.
type server struct {
	store  *store.Store
	access *web.Access
	log    *slog.Logger
	mux    *http.ServeMux
}

// routes are the paths that are served, and what answers each. openapi.json has the same
// paths; a test compares them.
var routes = map[string]func(*server, *http.Request) (any, error){
	"/api/fleet":                             (*server).fleet,
	"/api/devices/{device}/events":           (*server).events,
	"/api/devices/{device}/streams":          (*server).streams,
	"/api/devices/{device}/streams/{stream}": (*server).stream,
}

// newServer returns a server of a store, which the caller closes when no request runs any
// more.
func newServer(st *store.Store, a *web.Access, log *slog.Logger) *server {
	s := &server{store: st, access: a, log: log, mux: http.NewServeMux()}
	for path, answer := range routes {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, answer) })
	}
	s.mux.HandleFunc("GET "+descriptionPath, func(w http.ResponseWriter, r *http.Request) {
		sendFile(w, r, "application/json", openapi)
	})
	s.addAssets()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, http.StatusNotFound, "", "there is nothing at this path: "+descriptionPath+" lists what there is")
	})
	return s
}

// ServeHTTP answers one request. It checks the access before the path, so that a refused
// request does not reveal which paths exist.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.Protect(w.Header(), policy)
	if code, why := s.access.Refuse(w.Header(), r); code != 0 {
		s.refuse(w, code, "", why)
		return
	}
	s.mux.ServeHTTP(w, r)
}
