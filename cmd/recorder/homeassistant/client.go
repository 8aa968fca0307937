package homeassistant

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	dialTimeout   = 20 * time.Second
	answerTimeout = time.Minute // a large registry on a small board
	maxAnswer     = 64 << 20    // bytes; the registry of ten thousand entities has some 10 MiB
)

// A client is a connection to Home Assistant's WebSocket API, as described on the page
// "WebSocket API" of its developer documentation. Only one goroutine may use it.
type client struct {
	conn *websocket.Conn
	id   int // of the last command
}

// socketURL returns the address of the WebSocket API for the address that a user knows, such
// as http://homeassistant.local:8123. A ws:// or wss:// address with a path stays unchanged.
func socketURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%q is not an address: write it as http://homeassistant.local:8123", address)
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("%q begins with %s: write http:// or https://", address, u.Scheme)
	}
	if path := strings.TrimSuffix(u.Path, "/"); path == "" || strings.HasPrefix(address, "http") {
		u.Path = path + "/api/websocket"
	}
	return u.String(), nil
}

// dial connects and logs in with a long-lived access token.
func dial(ctx context.Context, address, token string, roots *tls.Config) (c *client, err error) {
	target, err := socketURL(address)
	if err != nil {
		return nil, err
	}
	dialer := websocket.Dialer{HandshakeTimeout: dialTimeout, TLSClientConfig: roots, Proxy: http.ProxyFromEnvironment}
	conn, _, err := dialer.DialContext(ctx, target, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	conn.SetReadLimit(maxAnswer)
	c = &client{conn: conn}
	if err := c.logIn(token); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return c, nil
}

// logIn answers "auth_required" with the token.
func (c *client) logIn(token string) error {
	var m struct{ Type, Message string }
	if err := c.read(&m); err != nil {
		return err
	}
	if m.Type != "auth_required" {
		return fmt.Errorf("it begins with %q, not auth_required: is that Home Assistant?", m.Type)
	}
	if err := c.write(map[string]any{"type": "auth", "access_token": token}); err != nil {
		return err
	}
	if err := c.read(&m); err != nil {
		return err
	}
	if m.Type != "auth_ok" {
		return fmt.Errorf("it refuses the token (%s): make a long-lived access token in the profile of an administrator",
			m.Message)
	}
	return nil
}

// call sends a command with its fields and decodes its result.
func (c *client) call(kind string, fields map[string]any, result any) error {
	c.id++
	command := map[string]any{"id": c.id, "type": kind}
	for name, value := range fields {
		command[name] = value
	}
	if err := c.write(command); err != nil {
		return err
	}
	var answer struct {
		ID      int
		Type    string
		Success bool
		Result  json.RawMessage
		Error   struct{ Code, Message string }
	}
	// We subscribe to nothing, so the next message is the answer.
	if err := c.read(&answer); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	switch {
	case answer.ID != c.id || answer.Type != "result":
		return fmt.Errorf("%s: an answer of type %q to command %d, not to %d", kind, answer.Type, answer.ID, c.id)
	case answer.Error.Code == "unauthorized":
		return fmt.Errorf("%s: the token is not one of an administrator", kind)
	case !answer.Success:
		return fmt.Errorf("%s: %s: %s", kind, answer.Error.Code, answer.Error.Message)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("%s: its result: %w", kind, err)
	}
	return nil
}

func (c *client) write(m any) error {
	c.conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	return c.conn.WriteJSON(m)
}

func (c *client) read(m any) error {
	c.conn.SetReadDeadline(time.Now().Add(answerTimeout))
	return c.conn.ReadJSON(m)
}

// close ends the connection with a close frame. Errors are ignored: nothing follows.
func (c *client) close() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	err := c.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	_ = errors.Join(err, c.conn.Close())
}
