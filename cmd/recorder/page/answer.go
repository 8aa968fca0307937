package page

import (
	"context"
	_ "embed" // for openapi.json
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

const (
	queryTimeout = 10 * time.Second // of one request's queries
	writeTimeout = 10 * time.Second // of writing one answer to the socket
)

// descriptionPath serves the OpenAPI description of the API.
const descriptionPath = "/api/openapi.json"

//go:embed openapi.json
var openapi []byte

// A badParameter is the error of a request with an invalid parameter. Its text says what is
// accepted.
type badParameter struct{ name, text string }

func (e *badParameter) Error() string { return e.name + ": " + e.text }

// A failure is the body of an error answer.
type failure struct {
	Error     string `json:"error"`
	Parameter string `json:"parameter,omitempty"` // the one to change
}

// answer sends what a route returns, or its error, as JSON.
func (s *server) answer(w http.ResponseWriter, r *http.Request, route func(*server, *http.Request) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	body, err := route(s, r.WithContext(ctx))
	var bad *badParameter
	switch {
	case err == nil:
		s.send(w, http.StatusOK, body)
	case errors.As(err, &bad):
		s.refuse(w, http.StatusBadRequest, bad.name, bad.Error())
	case errors.Is(err, store.ErrUnknown):
		s.refuse(w, http.StatusNotFound, "", err.Error())
	case ctx.Err() != nil:
		s.refuse(w, http.StatusServiceUnavailable, "", fmt.Sprintf("the database took longer than %v: "+
			"ask for a shorter range", queryTimeout))
	default:
		// An error of the database may contain its address, so only the log gets it.
		s.log.Error("a query of the HTTP API failed", "path", r.URL.Path, "error", err)
		s.refuse(w, http.StatusInternalServerError, "", "the database cannot be read: see the log of the recorder")
	}
}

// refuse sends an error with an HTTP status code.
func (s *server) refuse(w http.ResponseWriter, code int, parameter, text string) {
	s.send(w, code, failure{text, parameter})
}

// send sends a body as JSON. Caches must not keep it: late readings change the history.
func (s *server) send(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		s.log.Error("an answer of the HTTP API is not valid JSON", "error", err)
		text, code = []byte(`{"error":"the answer cannot be written as JSON"}`), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// Its error is ignored: httptest.ResponseRecorder does not support deadlines.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(code)
	w.Write(text)
}
