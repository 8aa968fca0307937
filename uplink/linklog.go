package uplink

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// flapping is the number of sessions in a row that were not stable, after which the
// next ones are not logged.
const flapping = 3

// A linkLog logs connections and their ends. Until a session is stable, each reason
// is logged once: otherwise a broker that ends every session would fill the log. The
// last line is always true: after "uplink up" the next failure is logged, whatever
// was logged before. All fields belong to the goroutine of Run.
type linkLog struct {
	log           *slog.Logger
	logged        map[string]bool // kinds of errors, since the last stable session
	upLogged      bool            // the last line is "uplink up"
	shortSessions int             // sessions in a row that were not stable

	facts mqtt.Facts // what is in the log of the broker
}

// connected: a broker has accepted the connection. What it said is logged when it is
// another thing than the last time.
func (g *linkLog) connected(server string, f mqtt.Facts) {
	if f == g.facts {
		return
	}
	g.facts = f
	attrs := []any{"server", server, "mqtt", f.Version.String(), "keepalive", f.KeepAlive}
	add := func(name string, value any, said bool) {
		if said {
			attrs = append(attrs, name, value)
		}
	}
	add("receive_maximum", f.ReceiveMaximum, f.ReceiveMaximum > 0)
	add("max_packet", f.MaxPacket, f.MaxPacket > 0)
	add("topic_aliases", f.Aliases, f.Aliases > 0)
	add("client_id", f.ClientID, f.ClientID != "")
	add("reason", f.Reason, f.Reason != "")
	g.log.Info("the broker has accepted the connection", attrs...)
	if f.Refuses5 != "" {
		g.log.Warn("the broker does not take MQTT 5: 3.1.1 is used, and 5 is tried again later", "server", server, "why",
			f.Refuses5)
	}
	if f.NoRetain {
		g.log.Warn("the broker keeps no retained messages: set mqtt.retain: false", "server", server)
	}
}

// once reports whether something is to be logged: it was not since the last stable
// session.
func (g *linkLog) once(what string) bool {
	first := !g.logged[what]
	g.logged[what] = true
	return first
}

// up: the broker has acknowledged something.
func (g *linkLog) up() {
	if g.shortSessions >= flapping {
		g.log.Debug("uplink up")
		return
	}
	g.upLogged = true
	g.log.Info("uplink up")
}

// stable: the session has lasted.
func (g *linkLog) stable() {
	if !g.upLogged {
		g.log.Info("uplink up", "after_short_sessions", g.shortSessions)
	}
	g.upLogged, g.shortSessions = true, 0
	clear(g.logged)
}

// down: a session ended that was up for so long, or there was none. What a
// person has to mend is an error.
func (g *linkLog) down(err error, up, wait time.Duration) {
	level := slog.LevelWarn
	var refused *mqtt.RefusedError
	switch first := g.once("down: " + mqtt.ReasonOf(err)); {
	case !first && !g.upLogged:
		level = slog.LevelDebug
	case errors.As(err, &refused) && !refused.Busy():
		level = slog.LevelError
	}
	if up > 0 && up < stableSession {
		g.shortSessions++
	}
	attrs := []any{"err", err, "retry_in", wait.Round(10 * time.Millisecond)}
	if g.shortSessions == flapping && g.upLogged {
		attrs = append(attrs, "note",
			"session after session ends within a minute: the next line comes when one lasts, or fails otherwise")
	}
	g.upLogged = g.upLogged && level == slog.LevelDebug
	g.log.Log(context.Background(), level, "uplink down", attrs...)
}
