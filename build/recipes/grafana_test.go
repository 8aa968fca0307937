package recipes

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// A query of the dashboard: where it is used, and the first columns that its result must
// have.
type query struct {
	where, text, format string
}

// boardQueries are all queries of the dashboard: those of panels, variables and
// annotations.
func boardQueries(t *testing.T) (all []query) {
	t.Helper()
	text, err := os.ReadFile("../../docs/recipes/grafana-recorder.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RawSQL, Format string }
		}
		Templating struct {
			List []struct{ Name, Type, Query, Definition string }
		}
		Annotations struct {
			List []struct{ Name, RawQuery string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.RawSQL, target.Format})
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			all = append(all, query{v.Name, v.Query, "variable"})
		}
		if v.Type == "query" && v.Query != v.Definition {
			t.Errorf("the variable %s has two queries", v.Name)
		}
	}
	for _, a := range board.Annotations.List {
		all = append(all, query{a.Name, a.RawQuery, "annotation"})
	}
	return all
}

// history fills a database with an hour of a stream, a missing reading, a declared gap, a
// late reading, a heartbeat and a message that is not a reading.
func history(t *testing.T, database string, begin time.Time) {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: database, Unknown: "accept", MaxQuarantine: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var batch []store.Item
	add := func(at int64, topic, payload string) {
		it := store.Item{At: at, Topic: topic, Payload: []byte(payload), Size: len(payload)}
		var err error
		if it.Message, err = message.Decode(topic, it.Payload, it.Size, false); err != nil {
			it.Bad = err.(*message.BadError)
		}
		batch = append(batch, it)
	}
	for seq := 1; seq <= 360; seq++ {
		ts := begin.UnixMilli() + int64(seq)*10_000
		if seq < 100 || seq > 109 {
			add(ts+int64(seq), "o'brien/hum", fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":%d}`, ts, seq, seq))
		}
	}
	now := begin.Add(time.Hour).UnixMilli()
	add(now, "o'brien/agent/event", fmt.Sprintf(`{"ts":%d,"start":"1-a","seq":1,"event":"gap","stream":"hum",`+
		`"boot":"1-a","from":100,"to":104,"count":5,"why":"dropped"}`, now))
	add(now, "o'brien/agent/status", "online")
	add(now, "o'brien/agent/health", fmt.Sprintf(`{"ts":%d,"backlog":3,"oldest":1.5,"clock":"ok","faults":[]}`, now))
	add(now, "o'brien/hum", "{")
	if _, err := s.Commit(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RollUp(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestDashboardQueriesMatchTheTables runs each query of the Grafana dashboard on both
// databases, over a short range and a long one. Grafana does not run: the test replaces its
// variables.
func TestDashboardQueriesMatchTheTables(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	file := filepath.Join(t.TempDir(), "history.db")
	postgres := postgrestest.Start(t).Database(t)
	for driver, name := range map[string]string{"sqlite": "file:" + file, "pgx": postgres} {
		database := name
		if driver == "sqlite" {
			database = "sqlite:" + file
		}
		history(t, database, begin)
		db, err := sql.Open(driver, name)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for days, hours := range map[int]bool{7: false, 30: true} {
			now := begin.Add(time.Hour)
			fill := strings.NewReplacer("${device:sqlstring}", "'o''brien'", "${stream:sqlstring}", "'hum'",
				"${__from}", fmt.Sprint(now.AddDate(0, 0, -days).UnixMilli()), "${__to}", fmt.Sprint(now.UnixMilli()),
				"${__interval_ms}", "60000")
			for _, q := range boardQueries(t) {
				q.where = fmt.Sprintf("%s, %s, %d days", q.where, driver, days)
				columns, rows := q.run(t, db, fill.Replace(q.text))
				if rows == 0 && !(hours && strings.HasPrefix(q.where, "How late")) {
					t.Errorf("%s: no rows", q.where)
				}
				timed := q.format == "time_series" || q.format == "annotation"
				if timed && !slices.Contains(columns, "time") || len(columns) == 0 {
					t.Errorf("%s: the columns are %v", q.where, columns)
				}
			}
		}
	}
}

// run runs the query, and returns its columns and the number of rows.
func (q query) run(t *testing.T, db *sql.DB, text string) (columns []string, n int) {
	t.Helper()
	if strings.Contains(text, "$") {
		t.Errorf("%s: a variable is left in %s", q.where, text)
	}
	rows, err := db.Query(text)
	if err != nil {
		t.Errorf("%s: %v: %s", q.where, err, text)
		return nil, 0
	}
	defer rows.Close()
	columns, _ = rows.Columns()
	for ; rows.Next(); n++ {
	}
	if err := rows.Err(); err != nil {
		t.Errorf("%s: %v", q.where, err)
	}
	return columns, n
}
