package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// start is when the tests' messages begin to arrive.
const start = int64(1_763_640_000_000)

// newDatabase names a new database. TestPostgreSQL puts another in its place.
var newDatabase = newFile

func newFile(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "a b?.db") }

// opened opens a new database.
func opened(t *testing.T) *Store {
	t.Helper()
	return openedAs(t, Options{Database: newDatabase(t), Unknown: "accept", MaxQuarantine: 100})
}

func openedAs(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// got makes an item of a payload, as ingest does.
func got(at int64, topic, payload string) Item {
	it := Item{At: at, Topic: topic, Payload: []byte(payload), Size: len(payload)}
	var err error
	if it.Message, err = message.Decode(topic, it.Payload, it.Size, false); err != nil {
		it.Bad = err.(*message.BadError)
	}
	return it
}

// numbered is a reading with a number.
func numbered(at int64, boot string, seq int64) Item {
	return got(at, "porch/hum", fmt.Sprintf(`{"ts":%d,"boot":%q,"seq":%d,"value":%d}`, at-5, boot, seq, seq))
}

// declared is a gap event.
func declared(at, own int64, boot string, from, to, count int64) Item {
	return got(at, "porch/agent/event", fmt.Sprintf(`{"ts":%d,"start":"9-z","seq":%d,"event":"gap","stream":"hum",`+
		`"boot":%q,"from":%d,"to":%d,"count":%d,"why":"dropped"}`, at, own, boot, from, to, count))
}

func commitAll(t testing.TB, s *Store, items ...Item) Result {
	t.Helper()
	r, err := s.Commit(context.Background(), items)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// gaps prints the gaps of all devices, one on each line.
func gaps(t testing.TB, s *Store) string {
	t.Helper()
	all, err := s.Gaps(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range all {
		fmt.Fprintf(&b, "%s/%s %s %d-%d %d %s %s\n", g.Device, g.Stream, g.Boot, g.From, g.To, g.Count, g.State, g.Why)
	}
	return b.String()
}

func wantGaps(t *testing.T, s *Store, want string) {
	t.Helper()
	if got := gaps(t, s); got != want {
		t.Errorf("gaps:\n%swant:\n%s", got, want)
	}
}

// rows prints the readings of all devices, one on each line.
func rows(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	err := s.Readings(context.Background(), Range{To: math.MaxInt64}, func(r Row) error {
		fmt.Fprintf(&b, "%s/%s %s:%d ts=%d at=%d %v %s%s%s %s\n", r.Device, r.Stream, r.Boot.String, r.Seq.Int64,
			r.TS-start, r.ReceivedAt-start, r.Value.Float64, r.State.String, r.Unit.String, r.Error.String, r.Clock.String)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSecondCopyChangesNothing(t *testing.T) {
	s := opened(t)
	first := got(start, "porch/hum",
		`{"ts":1763640000001,"boot":"1-a","seq":1,"value":45,"unit":"%","clock":"estimated"}`)
	second := got(start+9, "porch/hum", `{"ts":1763640000099,"boot":"1-a","seq":1,"value":46,"clock":"estimated"}`)
	if r := commitAll(t, s, first, second); r != (Result{Stored: 1, Duplicates: 1}) {
		t.Errorf("in one batch: %+v", r)
	}
	if r := commitAll(t, s, second); r != (Result{Duplicates: 1}) {
		t.Errorf("in another: %+v", r)
	}
	if got := rows(t, s); got != "porch/hum 1-a:1 ts=1 at=0 45 % estimated\n" {
		t.Error(got)
	}
	better := got(start+20, "porch/hum", `{"ts":1763640000500,"boot":"1-a","seq":1,"value":47}`)
	if r := commitAll(t, s, better, second); r != (Result{Duplicates: 2, Improved: 1}) {
		t.Errorf("with a better clock: %+v", r)
	}
	if got := rows(t, s); got != "porch/hum 1-a:1 ts=500 at=0 45 % \n" {
		t.Error(got)
	}
}

func TestPlainPayloadsHaveNoKey(t *testing.T) {
	s := opened(t)
	commitAll(t, s, got(start, "home/temp", "21.5"), got(start+1, "home/temp", "21.5"), got(start+2, "home/door", "open"),
		got(start+3, "home/lux", `{"value":7,"battery":90}`))
	want := "home/door :0 ts=2 at=2 0 open \nhome/lux :0 ts=3 at=3 7  \n" +
		"home/temp :0 ts=0 at=0 21.5  \nhome/temp :0 ts=1 at=1 21.5  \n"
	if got := rows(t, s); got != want {
		t.Errorf("got\n%s", got)
	}
	wantGaps(t, s, "")
}

func TestHolesAreNoticedFilledAndDeclared(t *testing.T) {
	s := opened(t)
	commitAll(t, s, numbered(start, "1-a", 1), numbered(start, "1-a", 2), numbered(start+10, "1-a", 10))
	wantGaps(t, s, "porch/hum 1-a 3-9 7 missing \n")
	// Only a hole that is filled late is recorded as filled.
	commitAll(t, s, numbered(start+20, "1-a", 5))
	wantGaps(t, s, "porch/hum 1-a 3-4 2 missing \nporch/hum 1-a 6-9 4 missing \n")
	late := start + 2*reorderWindow
	commitAll(t, s, numbered(late, "1-a", 3), numbered(late, "1-a", 4), numbered(late, "1-a", 6))
	commitAll(t, s, numbered(late, "1-a", 7))
	wantGaps(t, s, "porch/hum 1-a 3-4 2 filled \nporch/hum 1-a 6-7 2 filled \nporch/hum 1-a 8-9 2 missing \n")
	commitAll(t, s, declared(late, 1, "1-a", 9, 12, 4), declared(late, 1, "1-a", 9, 12, 4))
	wantGaps(t, s, "porch/hum 1-a 3-4 2 filled \nporch/hum 1-a 6-7 2 filled \nporch/hum 1-a 8-8 1 missing \n"+
		"porch/hum 1-a 9-12 4 declared dropped\n")
	// What was declared before it is missed never is a hole.
	commitAll(t, s, numbered(late, "1-a", 15))
	if got := gaps(t, s); !strings.Contains(got, "13-14 2 missing") || strings.Contains(got, "11-14") {
		t.Error(got)
	}
}

func TestVerifyExplainsLossesOfTheBroker(t *testing.T) {
	s := opened(t)
	ctx := context.Background()
	commitAll(t, s, numbered(start, "1-a", 1), numbered(start+100, "1-a", 3)) // nothing explains 2
	if err := s.Connected(ctx, Connection{At: time.UnixMilli(start + 150)}); err != nil {
		t.Fatal(err)
	}
	commitAll(t, s, numbered(start+200, "1-a", 6)) // 4 and 5 were lost by a broker
	if err := s.Connected(ctx, Connection{At: time.UnixMilli(start + 250), Fresh: true}); err != nil {
		t.Fatal(err)
	}
	commitAll(t, s, numbered(start+300, "2-b", 8)) // 1 to 7 of another boot were lost with the session
	commitAll(t, s, declared(start+400, 1, "2-b", 9, 20, 4), numbered(start+401, "2-b", 10),
		numbered(start+401, "2-b", 21))
	v, err := s.Verify(ctx, "porch")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range v.Gaps {
		fmt.Fprintf(&b, "%s %d-%d %d %s|", g.Boot, g.From, g.To, g.Count, g.Why)
	}
	if got := b.String(); got != "1-a 2-2 1 |1-a 4-5 2 broker|2-b 1-7 7 session|2-b 9-20 7 |" || v.Unexplained != 8 {
		t.Errorf("%s %+v", got, v)
	}
	if _, err := s.Verify(ctx, "nobody"); err == nil {
		t.Error("a device that is not there was verified")
	}
}

// whyEach commits a history, and returns why each number is missing: "3-4 broker|6-6 |".
func whyEach(t *testing.T, s *Store, items ...Item) string {
	t.Helper()
	commitAll(t, s, items...)
	v, err := s.Verify(t.Context(), "porch")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range v.Gaps {
		fmt.Fprintf(&b, "%d-%d %s|", g.From, g.To, g.Why)
	}
	return b.String()
}

// TestVerifyExplainsLossesAfterTheQueue: the broker is killed while the recorder
// is away. What it has saved arrives behind the new connection, and what it had accepted
// after that is lost: it is explained however late the agent comes back. What is missing
// elsewhere is not, also if the agent has connected just before.
func TestVerifyExplainsLossesAfterTheQueue(t *testing.T) {
	const hour = 3_600_000
	connected := start + 100
	online := func(at int64) Item { return got(at, "porch/agent/status", "online") }
	retained := func(at int64) Item {
		it := got(at, "porch/agent/status", "online")
		it.Message, it.Retained = message.Presence{Device: "porch", Online: true, Retained: true}, true
		return it
	}
	one := func(at, seq int64) Item { return numbered(connected+at, "1-a", seq) }
	queued, end := one(10, 2), retained(connected+20)
	for _, c := range []struct {
		name    string
		history []Item
		want    string
	}{
		{"back at once", []Item{queued, end, online(connected + 30), one(31, 5)}, "3-4 broker|"},
		{"back late", []Item{queued, end, online(connected + hour), one(hour+1, 5)}, "3-4 broker|"},
		{"back twice", []Item{queued, end, online(connected + 30), one(31, 3), online(connected + 40), one(41, 5)}, "4-4 |"},
		{"back before the recorder", []Item{queued, online(connected + 12), one(13, 5), end, one(40, 6)}, "3-4 broker|"},
		{"never away, and behind a full queue", []Item{queued, end, one(hour, 5)}, "3-4 broker|"},
		{"missing within the queue", []Item{queued, one(11, 5), end, one(40, 6)}, "3-4 |"},
		{"missing later", []Item{queued, end, one(30, 3), one(40, 5)}, "4-4 |"},
		{"missing later, and back", []Item{queued, end, one(30, 3), online(connected + 40), one(41, 5)}, "4-4 |"},
		{"a retained message of before", []Item{retained(connected + 5), queued, end, online(connected + hour),
			one(hour+1, 5)}, "3-4 broker|"},
		{"no retained message, back late", []Item{queued, online(connected + hour), one(hour+1, 5)}, "3-4 broker|"},
		{"no retained message, not back", []Item{queued, one(hour, 5)}, "3-4 |"},
		{"no retained message, missing later", []Item{queued, one(assumedQueue+1, 3), online(connected + hour),
			one(hour+1, 5)}, "4-4 |"},
	} {
		s := opened(t)
		commitAll(t, s, numbered(start, "1-a", 1))
		if err := s.Connected(t.Context(), Connection{At: time.UnixMilli(connected)}); err != nil {
			t.Fatal(err)
		}
		if got := whyEach(t, s, c.history...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestCommittingABatchTwiceCountsDropsOnce: a commit that failed has noted what comes
// behind a hole, and the hole is noticed again.
func TestCommittingABatchTwiceCountsDropsOnce(t *testing.T) {
	s := opened(t)
	commitAll(t, s, numbered(start, "1-a", 1))
	if err := s.Connected(t.Context(), Connection{At: time.UnixMilli(start + 100)}); err != nil {
		t.Fatal(err)
	}
	end := got(start+140, "porch/agent/health", "{}")
	end.Retained = true
	batch := []Item{numbered(start+110, "1-a", 2), numbered(start+120, "1-a", 5),
		got(start+130, "porch/agent/status", "online"), end}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Commit(ctx, batch); err == nil {
		t.Fatal("a commit without time succeeded")
	}
	s.session.queueEnded(end.At) // as far as a commit may come
	s.session.online[s.devices["porch"]] = start + 130
	if got := whyEach(t, s, batch...); got != "3-4 |" {
		t.Error(got)
	}
}

func TestBootBeforeTheSessionIsExplained(t *testing.T) {
	s := opened(t)
	birth := Item{At: start, Message: message.Birth{Device: "porch", Boot: "1-a", Retained: true}}
	commitAll(t, s, birth, numbered(start, "1-a", 1000), numbered(start, "2-b", 1))
	v, err := s.Verify(context.Background(), "porch")
	if err != nil || v.Unexplained != 0 || len(v.Gaps) != 1 || v.Gaps[0].Why != LostBySession || v.Gaps[0].Count != 999 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestLossOfTheFirstNumbersOfABootIsExplained: there is no neighbour before them, but
// a birth.
func TestLossOfTheFirstNumbersOfABootIsExplained(t *testing.T) {
	s := opened(t)
	ctx := context.Background()
	commitAll(t, s, Item{At: start, Message: message.Birth{Device: "porch", Boot: "1-a"}})
	if err := s.Connected(ctx, Connection{At: time.UnixMilli(start + 5)}); err != nil {
		t.Fatal(err)
	}
	commitAll(t, s, numbered(start+9, "1-a", 3), numbered(start+9, "2-b", 1),
		got(start+9, "porch/late", `{"ts":9,"boot":"3-c","seq":5,"value":1}`))
	v, err := s.Verify(ctx, "porch")
	if err != nil || len(v.Gaps) != 2 || v.Gaps[0].Why != LostByBroker || v.Unexplained != 4 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestQueuedBirthIsOlderThanTheConnection: a boot begins while the recorder is away,
// and the broker is killed behind its birth. The retained copy shows how old that is; a
// boot that began later lost its first numbers elsewhere.
func TestQueuedBirthIsOlderThanTheConnection(t *testing.T) {
	s := opened(t)
	if err := s.Connected(t.Context(), Connection{At: time.UnixMilli(start)}); err != nil {
		t.Fatal(err)
	}
	birth := func(at int64, boot string, retained bool) Item {
		return Item{At: start + at, Message: message.Birth{Device: "porch", Boot: boot}, Retained: retained}
	}
	commitAll(t, s, birth(10, "1-a", false), birth(20, "1-a", true), birth(30, "2-b", false),
		numbered(start+40, "1-a", 3), got(start+50, "porch/late", `{"ts":9,"boot":"2-b","seq":5,"value":1}`))
	if got := whyEach(t, s); got != "1-2 broker|1-4 |" {
		t.Error(got)
	}
}

func TestUnknownDevicesAreTreatedAsConfigured(t *testing.T) {
	for unknown, want := range map[string]Result{
		"accept":     {Stored: 1, Quarantined: 1},
		"refuse":     {Refused: 1, Quarantined: 1},
		"quarantine": {Quarantined: 2},
	} {
		s := openedAs(t, Options{Database: newDatabase(t), Unknown: unknown, MaxQuarantine: 9})
		if r := commitAll(t, s, numbered(start, "1-a", 1), got(start, "porch/hum", "{")); r != want {
			t.Errorf("%s: %+v", unknown, r)
		}
		if unknown == "accept" {
			continue
		}
		// One that is registered meanwhile is stored from then on.
		if n, err := s.Register(context.Background(), []string{"porch"}, time.UnixMilli(start)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if r := commitAll(t, s, numbered(start, "1-a", 2)); r.Stored != 1 {
			t.Errorf("%s, registered: %+v", unknown, r)
		}
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	s := opened(t)
	for i := range 30 {
		var batch []Item
		for j := range 10 {
			batch = append(batch, got(start, "x/y", fmt.Sprintf("[%d,%d]%s", i, j, strings.Repeat(" ", 5000))))
		}
		commitAll(t, s, batch...)
	}
	var n, size int
	var first string
	err := s.read.QueryRow("SELECT count(*), max(length(payload)) FROM quarantine").Scan(&n, &size)
	if err != nil || n != 100 || size != keptPayload {
		t.Errorf("%d rows of %d bytes: %v", n, size, err)
	}
	if err := s.read.QueryRow("SELECT payload FROM quarantine ORDER BY id LIMIT 1").Scan(&first); err != nil ||
		!strings.HasPrefix(first, "[20,0]") {
		t.Errorf("the oldest is %.10q: %v", first, err)
	}
	// A topic may have 65,535 bytes, and the cut may be inside of a character.
	commitAll(t, s, got(start, "x/a"+strings.Repeat("é", 30_000), "1"))
	if err := s.read.QueryRow("SELECT max(length(topic)) FROM quarantine").Scan(&size); err != nil || size > keptPayload {
		t.Errorf("a topic of %d characters: %v", size, err)
	}
	// The detail may repeat a number of the payload.
	commitAll(t, s, got(start, "x/y", strings.Repeat("9", 60_000)))
	if err := s.read.QueryRow("SELECT max(length(detail)) FROM quarantine").Scan(&size); err != nil || size > keptPayload {
		t.Errorf("a detail of %d characters: %v", size, err)
	}
}

func TestSQLInNamesIsAName(t *testing.T) {
	s := opened(t)
	name := `x'); DROP TABLE reading; --`
	commitAll(t, s, got(start, name+"/"+name, "1"), got(start, "ok/ok", "2"))
	if got := rows(t, s); got != "ok/ok :0 ts=0 at=0 2  \n"+name+"/"+name+" :0 ts=0 at=0 1  \n" {
		t.Error(got)
	}
}

func TestLaterDatabaseVersionIsRefused(t *testing.T) {
	path := newDatabase(t)
	s := openedAs(t, Options{Database: path})
	if _, err := s.db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Options{Database: path})
	if err == nil || !strings.Contains(err.Error(), "later") {
		t.Errorf("got %v", err)
	}
}

func TestBackupIsComplete(t *testing.T) {
	s := opened(t)
	commitAll(t, s, numbered(start, "1-a", 1))
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(context.Background(), to); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(context.Background(), to); err == nil {
		t.Error("a file was overwritten")
	}
	if rows(t, openedAs(t, Options{Database: "sqlite:" + to})) != rows(t, s) {
		t.Error("the copy differs")
	}
	if _, err := os.Stat(to + ".part"); err == nil {
		t.Error("a part is left")
	}
}

// TestHolesBehaveLikeASet compares the gaps with a set of numbers, whatever arrives,
// repeats itself or is declared lost in whatever order.
func TestHolesBehaveLikeASet(t *testing.T) {
	ctx := context.Background()
	s := opened(t)
	cases := 0
	rapid.Check(t, func(t *rapid.T) {
		cases++
		boot := fmt.Sprint(cases, "-a")
		at, last, events := start, int64(0), int64(cases*1000)
		there, lost := map[int64]bool{}, map[int64]bool{}
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			var batch []Item
			for range rapid.IntRange(1, 12).Draw(t, "size") {
				at += rapid.Int64Range(0, 40_000).Draw(t, "wait")
				seq := rapid.Int64Range(1, 30).Draw(t, "seq")
				if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
					to := seq + rapid.Int64Range(0, 5).Draw(t, "range")
					events++
					batch = append(batch, declared(at, events, boot, seq, to, to-seq+1))
					for n := seq; n <= to; n++ {
						lost[n] = true
					}
					continue
				}
				batch = append(batch, numbered(at, boot, seq))
				there[seq] = true
				last = max(last, seq)
			}
			if _, err := s.Commit(ctx, batch); err != nil {
				t.Fatal(err)
			}
		}
		var want, missing []int64
		for n := int64(1); n < last; n++ {
			if !there[n] && !lost[n] {
				want = append(want, n)
			}
		}
		all, err := s.Gaps(ctx, "porch")
		if last > 0 && err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			if g.Boot != boot {
				continue
			}
			for n := g.From; n <= g.To && g.State == "missing"; n++ {
				missing = append(missing, n)
			}
			if g.State == "filled" && g.Count != g.To-g.From+1 {
				t.Fatalf("filled %+v", g)
			}
		}
		stored := 0
		if err := s.Readings(ctx, Range{To: math.MaxInt64}, func(r Row) error {
			if r.Boot.String == boot {
				stored++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(missing, want) || stored != len(there) {
			t.Fatalf("missing %v, want %v; stored %d, want %d", missing, want, stored, len(there))
		}
	})
}
