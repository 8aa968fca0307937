package store

import (
	"context"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// TestPostgreSQL runs the tests of SQLite on a real PostgreSQL.
func TestPostgreSQL(t *testing.T) {
	s := postgrestest.Start(t)
	newDatabase = s.Database
	defer func() { newDatabase = newFile }()
	for name, test := range map[string]func(*testing.T){
		"second copy":     TestASecondCopyChangesNothing,
		"plain payloads":  TestPlainPayloadsHaveNoKey,
		"holes":           TestHolesAreNoticedFilledAndDeclared,
		"a set":           TestHolesBehaveLikeASet,
		"verify":          TestVerifyExplainsWhatTheBrokerMayLose,
		"before us":       TestABootThatWasThereBeforeUsIsExplained,
		"first numbers":   TestTheFirstNumbersOfABootMayBeLostByTheBroker,
		"unknown devices": TestUnknownDevicesAreTreatedAsConfigured,
		"quarantine":      TestTheQuarantineIsBounded,
		"SQL in names":    TestSQLInNamesIsAName,
		"rollups":         TestHoursAndDaysAreWhatTheReadingsAre,
		"retain":          TestRetainKeepsHoursAndDays,
		"spans":           TestSpansLieBetweenMeasurements,
		"devices":         TestTheFleetIsWhatItSays,
		"later":           TestALaterDatabaseIsRefused,
		"behind a queue":  TestVerifyKnowsWhatABrokerMayLoseBehindItsQueue,
		"late hours":      TestAlarmsEventsAndLateHours,
		"large values":    TestTheLargestValuesDoNotStopTheRollups,
		"large numbers":   TestTheLargestNumbersDoNotHideTheFleet,
	} {
		t.Run(name, test)
	}
	t.Run("two recorders", func(t *testing.T) { twoRecorders(t, s.Database(t)) })
}

// twoRecorders stores one stream with two programs that each get half of it, as a
// shared subscription deals it out, and both get some of it twice.
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
