package store

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// TestPostgreSQL runs the tests of SQLite on a real PostgreSQL.
func TestPostgreSQL(t *testing.T) {
	s := postgrestest.Start(t)
	newDatabase = s.Database
	defer func() { newDatabase = newFile }()
	for name, test := range map[string]func(*testing.T){
		"second copy":      TestSecondCopyChangesNothing,
		"plain payloads":   TestPlainPayloadsHaveNoKey,
		"holes":            TestHolesAreNoticedFilledAndDeclared,
		"a set":            TestHolesBehaveLikeASet,
		"verify":           TestVerifyExplainsLossesOfTheBroker,
		"before us":        TestBootBeforeTheSessionIsExplained,
		"first numbers":    TestLossOfTheFirstNumbersOfABootIsExplained,
		"unknown devices":  TestUnknownDevicesAreTreatedAsConfigured,
		"quarantine":       TestQuarantineIsBounded,
		"SQL in names":     TestSQLInNamesIsAName,
		"rollups":          TestRollupsMatchTheReadings,
		"retain, no clock": TestRetainUsesReceivedAtForUnsyncedClocks,
		"retain":           TestRetainKeepsHoursAndDays,
		"spans":            TestSpansLieBetweenMeasurements,
		"devices":          TestFleet,
		"later":            TestLaterDatabaseVersionIsRefused,
		"behind a queue":   TestVerifyExplainsLossesAfterTheQueue,
		"birth in queue":   TestQueuedBirthIsOlderThanTheConnection,
		"late hours":       TestAlarmsEventsAndLateHours,
		"a summary":        TestSummaryIncludesAllReadingsOfAnHour,
		"large values":     TestRollupsSurviveTheLargestValues,
		"large numbers":    TestFleetSurvivesTheLargestNumbers,
		"drops":            TestVerifyExplainsDroppedMessages,
	} {
		t.Run(name, test)
	}
	t.Run("two recorders", func(t *testing.T) { twoRecorders(t, s.Database(t)) })
	t.Run("retain beside a commit", retainDuringCommit)
	t.Run("encoding", anEncodingWithoutAllCharacters)
	t.Run("durable", commitsAreDurable)
}

// commitsAreDurable opens a database whose COMMIT returns before the data is on disk: messages that are
// acknowledged after it could be lost.
func commitsAreDurable(t *testing.T) {
	for server, want := range map[string]string{"off": "on", "remote_apply": "remote_apply", "local": "local"} {
		s := opened(t)
		name := s.options.Database[strings.LastIndex(s.options.Database, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		if _, err := s.db.ExecContext(t.Context(), "ALTER DATABASE "+name+" SET synchronous_commit = "+server); err != nil {
			t.Fatal(err)
		}
		var got string
		again := openedAs(t, s.options)
		err := again.db.QueryRowContext(t.Context(), "SHOW synchronous_commit").Scan(&got)
		if err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", server, got, err, want)
		}
	}
}

// anEncodingWithoutAllCharacters opens databases whose encoding has, or does not have, all characters. A
// batch with a missing character would be rejected for ever.
func anEncodingWithoutAllCharacters(t *testing.T) {
	s := opened(t)
	for encoding, want := range map[string]string{"UTF8": "", "SQL_ASCII": "", "LATIN1": "createdb -T template0 -E UTF8"} {
		name := "in_" + strings.ToLower(encoding)
		_, err := s.db.ExecContext(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING '"+encoding+"'")
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(s.options.Database)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		other, err := Open(t.Context(), Options{Database: u.String(), Unknown: "accept", MaxQuarantine: 10})
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", encoding, err)
			}
			continue
		}
		if want != "" {
			t.Errorf("%s is accepted", encoding)
		}
		commitAll(t, other, got(start, "厨房/hum", "ε 湿"), got(start, "x/\xff", "1"))
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// retainDuringCommit deletes the readings of a day while a batch with another reading of it
// has only begun: the hours of the day keep what they had.
func retainDuringCommit(t *testing.T) {
	ctx := t.Context()
	s := opened(t)
	commitAll(t, s, measured(midnight+1, 1, 10), measured(midnight+2, 2, 20))
	rollUp(t, s)
	// A slow reader such as pg_dump blocks nobody.
	dump, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Rollback()
	if _, err := dump.Exec("SELECT * FROM counter"); err != nil {
		t.Fatal(err)
	}
	tx, err := s.begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &commit{transaction: tx, s: s, sequences: map[sequenceKey]*sequence{}, hours: map[hourKey]bool{}}
	if err := c.readHorizon(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Retain(ctx, time.UnixMilli(midnight+day), time.Time{})
		done <- err
	}()
	// It either waits for the transaction, or has finished without it.
	waits := 0
	for waits == 0 && len(done) == 0 {
		err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "+
			"AND wait_event_type = 'Lock'").Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.store([]Item{measured(midnight+3, 3, 60)}), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	rollUp(t, s)
	r := Range{Device: "porch", Stream: "hum", From: midnight, To: midnight + day}
	if got, want := show(t, s, r, time.Hour, midnight), "0s n=3 errors=0 10..60 mean 30\n"; got != want {
		t.Errorf("got %swant %s", got, want)
	}
}

// twoRecorders stores one stream with two programs that each get half of it, as with a shared
// subscription, and some messages twice.
func twoRecorders(t *testing.T, database string) {
	ctx := context.Background()
	var stores [2]*Store
	for i := range stores {
		stores[i] = openedAs(t, Options{Database: database, Unknown: "accept", MaxQuarantine: 10})
	}
	const n = 600
	failed := make(chan error, 2)
	for i := range stores {
		go func() {
			for at := i + 1; at <= n; at += 20 {
				var batch []Item
				for seq := at; seq < at+20 && seq <= n; seq += 2 {
					batch = append(batch, numbered(start, "1-a", int64(seq)), numbered(start, "1-a", int64(seq)))
				}
				for {
					_, err := stores[i].Commit(ctx, batch)
					if err == nil {
						break
					}
					t.Log("again: ", err) // a deadlock: ingest tries again, too
				}
			}
			failed <- nil
		}()
	}
	for range stores {
		<-failed
	}
	var rows int
	if err := stores[0].read.QueryRow("SELECT count(*) FROM reading").Scan(&rows); err != nil || rows != n {
		t.Errorf("%d rows, want %d: %v", rows, n, err)
	}
	if got := gaps(t, stores[0]); got != "" {
		t.Errorf("gaps are left: %s", got)
	}
}
