package store

import (
	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// event stores an event. The event "gap" also declares a loss. A second copy changes nothing.
func (c *commit) event(it *Item, device int64, e message.Event) error {
	// The unique key recognises a second copy, as for readings.
	n, err := c.exec("INSERT INTO event (device_id, boot, seq, ts, received_at, event, details) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", device, e.Boot, e.Seq, e.TS, it.At, e.Name, e.JSON)
	switch {
	case err != nil:
		return err
	case n == 0:
		c.Duplicates++
		return nil
	}
	c.Events++
	if e.Gap == nil {
		return nil
	}
	// The stream may be new: perhaps none of its readings has arrived.
	id, err := c.stream(device, e.Gap.Stream)
	if err != nil {
		return err
	}
	q, err := c.sequence(id, e.Gap.Boot)
	if err != nil {
		return err
	}
	return c.declare(q, *e.Gap, it.At)
}

// birth stores what an agent says about itself at the start of a session, and whether its
// boot is older than our own session: then the broker did not keep its earlier messages for us.
func (c *commit) birth(it *Item, device int64, b message.Birth) error {
	_, err := c.exec("INSERT INTO device_status (device_id, version, boot, hardware) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (device_id) DO UPDATE SET version = excluded.version, boot = excluded.boot, "+
		"hardware = excluded.hardware", device, nullText(b.Version), nullText(b.Boot), nullText(b.Hardware))
	if err != nil || b.Boot == "" {
		return err
	}
	// A retained birth was published before our connection, even if another copy of it has just
	// arrived from the broker's queue.
	seen := it.At
	if it.Retained {
		seen = c.s.session.at
	}
	// The earliest arrival counts: a birth that is sent again says nothing about the session.
	_, err = c.exec("INSERT INTO boot (device_id, boot, seen_at, before_session) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (device_id, boot) DO UPDATE SET seen_at = excluded.seen_at WHERE boot.seen_at > excluded.seen_at",
		device, b.Boot, seen, b.Retained)
	return err
}

// presence stores whether a device is online, from its status message or its will. If nothing
// changes, online_since stays.
func (c *commit) presence(it *Item, device int64, p message.Presence) error {
	if now := &c.s.session; p.Online && !p.Retained && now.online != nil {
		now.online[device] = it.At
	}
	_, err := c.exec("INSERT INTO device_status (device_id, online, online_since) VALUES (?, ?, ?) "+
		"ON CONFLICT (device_id) DO UPDATE SET online_since = "+
		"CASE WHEN device_status.online = excluded.online THEN device_status.online_since "+
		"ELSE excluded.online_since END, online = excluded.online", device, p.Online, it.At)
	return err
}

// health stores a heartbeat. Only the last one is kept.
func (c *commit) health(device int64, h message.Health) error {
	// An old heartbeat may arrive late at QoS 0; the next one corrects it.
	_, err := c.exec("INSERT INTO device_status (device_id, health_at, backlog, oldest, dropped, clock, written, "+
		"faults) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE SET health_at = excluded.health_at, "+
		"backlog = excluded.backlog, oldest = excluded.oldest, dropped = excluded.dropped, clock = excluded.clock, "+
		"written = excluded.written, faults = excluded.faults",
		device, h.TS, h.Backlog, h.Oldest, h.Dropped, nullText(h.Clock), h.Written, nullText(h.Faults))
	return err
}
