// Package homeassistant writes hours with late readings into the long-term statistics of Home
// Assistant. Home Assistant ignores readings that are older than its current state, so an
// outage leaves a hole in its history; this package fills it.
//
// It uses the WebSocket API: config/entity_registry/list, recorder/list_statistic_ids and
// recorder/import_statistics. The last one gets mean_type and unit_class, which Home Assistant
// accepts since 2025.11 and requires from 2026.11 on. It was not tested with a real Home
// Assistant: the tests use a fake that checks each message against the documentation.
package homeassistant

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// settled is how long after its end an hour is written. Home Assistant computes the hour
// itself in the first minutes after it; an earlier import would be computed twice.
const settled = 15 * time.Minute

// maxHours is the maximum number of hours in one command.
const maxHours = 1000

// An Importer writes statistics. All fields but TLS are needed.
type Importer struct {
	URL    string // of Home Assistant, such as http://homeassistant.local:8123
	Token  string // a long-lived access token of an administrator
	TLS    *tls.Config
	Store  *store.Store
	Range  store.Range // of the late readings; an empty Device selects all devices
	DryRun bool        // write nothing
}

// An Outcome is the result for one stream with late readings.
type Outcome struct {
	Device, Stream string
	Entity         string // in Home Assistant; empty: none
	Hours          int    // number of hours written, or to be written in a dry run
	Skipped        string // why none were written; empty: they were
}

// An entity is a row of the entity registry.
type entity struct {
	EntityID string `json:"entity_id"`
	UniqueID string `json:"unique_id"`
	Platform string `json:"platform"`
}

// A statistic describes a statistic, in list_statistic_ids and in import_statistics.
type statistic struct {
	ID        string  `json:"statistic_id"`
	Source    string  `json:"source"`
	Name      *string `json:"name"`
	HasSum    bool    `json:"has_sum"`
	MeanType  int     `json:"mean_type"` // 0: none, 1: arithmetic, 2: of angles
	UnitClass *string `json:"unit_class"`
	Unit      *string `json:"unit_of_measurement"`
}

// A listedStatistic is a statistic in the answer to recorder/list_statistic_ids. There the unit
// of the stored values has another name than in the request.
type listedStatistic struct {
	statistic
	StoredUnit *string `json:"statistics_unit_of_measurement"`
}

// An hour is one row of a statistic.
type hour struct {
	Start string  `json:"start"` // RFC 3339
	Mean  float64 `json:"mean"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// Run writes each hour before now that has a late reading, computed from all readings of the
// hour. Writing an hour again gives the same result. It returns one Outcome for each stream
// with late readings; after an error, for those before it.
func (i *Importer) Run(ctx context.Context, now time.Time) (all []Outcome, err error) {
	c, err := dial(ctx, i.URL, i.Token, i.TLS)
	if err != nil {
		return nil, err
	}
	defer c.close()
	// The end of ctx ends a blocked read.
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	entities, err := c.entities()
	if err != nil {
		return nil, err
	}
	statistics, err := c.statistics()
	if err != nil {
		return nil, err
	}
	r := i.Range
	r.To = min(r.To, now.Add(-settled).Truncate(time.Hour).UnixMilli())
	late, err := i.Store.LateHours(ctx, r)
	for _, one := range late {
		if err != nil {
			break
		}
		o := Outcome{Device: one.Device, Stream: one.Stream, Entity: entities[one.Device+"/"+one.Stream]}
		known, ok := statistics[o.Entity]
		if o.Skipped = skipReason(o.Entity, known, ok, one.Unit); o.Skipped == "" {
			o.Hours, err = i.write(ctx, c, one, known.statistic)
		}
		all = append(all, o)
	}
	return all, err
}

// skipReason says why nothing can be written for an entity; it is empty if it can.
func skipReason(entity string, known listedStatistic, ok bool, unit string) string {
	stored := ""
	if known.StoredUnit != nil {
		stored = *known.StoredUnit
	}
	switch {
	case entity == "":
		return "no sensor of MQTT discovery: home_assistant.discovery of the agent makes one"
	case !ok:
		return "it has no statistics: Home Assistant keeps them for numbers with a state class"
	case known.HasSum:
		return "its statistics are a sum, which late readings do not give"
	case known.MeanType != 1:
		return "its statistics have no arithmetic mean"
	case known.Source != "recorder":
		return "its statistics are not those of a sensor"
	case stored != unit:
		return fmt.Sprintf("its statistics are in %q, the readings in %q", stored, unit)
	}
	return ""
}

// write writes the hours of a stream, and returns how many.
func (i *Importer) write(ctx context.Context, c *client, late store.Late, m statistic) (n int, err error) {
	// import_statistics replaces the unit; skipReason has checked that it is the same.
	m.Unit = &late.Unit
	if late.Unit == "" {
		m.Unit = nil
	}
	hours := make([]hour, 0, len(late.Hours))
	for _, ts := range late.Hours {
		r := store.Range{Device: late.Device, Stream: late.Stream, From: ts, To: ts + time.Hour.Milliseconds()}
		b, err := i.Store.Summary(ctx, r)
		if err != nil {
			return 0, err
		}
		if b.N == 0 {
			continue // the hour has only errors
		}
		hours = append(hours, hour{time.UnixMilli(ts).UTC().Format(time.RFC3339), b.Mean, b.Min, b.Max})
	}
	for begin := 0; begin < len(hours) && !i.DryRun; begin += maxHours {
		part := hours[begin:min(begin+maxHours, len(hours))]
		err := c.call("recorder/import_statistics", map[string]any{"metadata": m, "stats": part}, nil)
		if err != nil {
			return begin, fmt.Errorf("%s: %w", m.ID, err)
		}
	}
	return len(hours), nil
}

// entities returns the entity ID of each stream that MQTT discovery has announced, by unique
// ID: "client ID/stream".
func (c *client) entities() (map[string]string, error) {
	var all []entity
	if err := c.call("config/entity_registry/list", nil, &all); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range all {
		if e.Platform == "mqtt" && strings.HasPrefix(e.EntityID, "sensor.") && strings.Count(e.UniqueID, "/") == 1 {
			found[e.UniqueID] = e.EntityID
		}
	}
	return found, nil
}

// statistics returns the statistics of Home Assistant by entity ID.
func (c *client) statistics() (map[string]listedStatistic, error) {
	var all []listedStatistic
	if err := c.call("recorder/list_statistic_ids", nil, &all); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("there are no statistics in Home Assistant: is its recorder switched on?")
	}
	known := map[string]listedStatistic{}
	for _, one := range all {
		known[one.ID] = one
	}
	return known, nil
}
