package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A hostile counts what is published, as the recorder must count it.
type hostile struct {
	stored, duplicates, improved, quarantined int
	messages                                  [][2]string
}

func (h *hostile) add(n *int, topic, format string, args ...any) {
	*n++
	h.messages = append(h.messages, [2]string{topic, fmt.Sprintf(format, args...)})
}

// TestHostileInputIsCounted publishes invalid messages between valid readings, in random order and with
// 10 % second copies.
func TestHostileInputIsCounted(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	startMosquitto(t, addr, "")
	r := startRecorder(t, addr, "quarantine: {max: 1000}\n")
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now().UnixMilli()
	var h hostile
	for seq := 1; seq <= 2000; seq++ { // two agents with one client ID, whose boots differ
		for _, boot := range []string{"1-aaaaaaaa", "1-bbbbbbbb"} {
			if seq >= 1001 && seq <= 1010 && boot == "1-aaaaaaaa" {
				continue // a hole
			}
			reading := fmt.Sprintf(`{"ts":%d,"boot":%q,"seq":%d,"value":%d}`, now+int64(seq), boot, seq, seq)
			h.add(&h.stored, "porch/hum", "%s", reading)
			if rng.IntN(10) == 0 {
				h.add(&h.duplicates, "porch/hum", "%s", reading)
			}
		}
	}
	hostileExtras(&h, now)
	c := publisher(t, addr, "hostile")
	for i, m := range h.messages {
		tok := c.Publish(m[0], 1, false, m[1])
		if i%500 == 0 || i+1 == len(h.messages) {
			if !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
				t.Fatal(tok.Error())
			}
		}
	}
	want := fmt.Sprintf("stored=%d duplicates=%d improved=%d events=0 quarantined=%d refused=0 ",
		h.stored, h.duplicates, h.improved, h.quarantined)
	eventually(t, want, func() bool { return r.counters() == want })
	if got := r.count("SELECT count(*) FROM reading"); got != h.stored {
		t.Errorf("%d rows, want %d", got, h.stored)
	}
	if got := r.count("SELECT count(*) FROM quarantine"); got != h.quarantined {
		t.Errorf("%d rows in quarantine, want %d", got, h.quarantined)
	}
	if got := r.count("SELECT count(*) FROM reading WHERE clock IS NULL AND ts = ?", now-777); got != 1 {
		t.Errorf("the better clock did not win")
	}
	out, status := r.output("gaps", "porch")
	if !strings.Contains(out, "1001  1010  10     missing") || strings.Count(out, "\n") != 2 || status != 0 {
		t.Errorf("gaps: %s", out)
	}
	if out, status := r.output("verify", "porch"); status != 1 || !strings.Contains(out, "not explained: 10") {
		t.Errorf("verify: %d %s", status, out)
	}
	r.exportsAll(h.stored)
	r.stop()
}

// exportsAll checks that both formats have as many readings as are stored.
func (r *recorder) exportsAll(stored int) {
	r.t.Helper()
	out, status := r.output("export")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || status != 0 || len(rows) != stored+1 {
		r.t.Errorf("CSV: %d lines, want %d: %v", len(rows), stored+1, err)
	}
	out, status = r.output("export", "-format", "jsonl", "porch/hum", "-from", "1h")
	want := r.count("SELECT count(*) FROM reading r JOIN stream s ON s.id = r.stream_id JOIN device d " +
		"ON d.id = s.device_id WHERE d.name = 'porch' AND s.name = 'hum'")
	last := int64(0)
	lines := 0
	for line := range strings.Lines(out) {
		var one struct {
			Device, Boot string
			TS, Seq      int64
			Value        *float64
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil || one.Boot == "" || one.Value == nil || one.TS < last {
			r.t.Fatalf("JSON Lines: %v: %s", err, line)
		}
		last = one.TS
		lines++
	}
	if status != 0 || lines != want || want == 0 {
		r.t.Errorf("JSON Lines: %d of %d", lines, want)
	}
}

// hostileExtras adds messages that are not readings of an agent.
func hostileExtras(h *hostile, now int64) {
	year := int64(365 * 24 * 3600 * 1000)
	h.add(&h.stored, "late/hum", `{"ts":%d,"boot":"1-a","seq":1,"value":1,"historical":true}`, now-year)
	h.add(&h.stored, "late/hum", `{"ts":5,"boot":"1-a","seq":2,"value":1,"clock":"unsynced"}`)
	h.add(&h.stored, "late/hum", `{"ts":%d,"boot":"1-a","seq":3,"value":1}`, now+100*year)
	h.add(&h.stored, "late/clock", `{"ts":6,"boot":"1-a","seq":1,"value":1,"clock":"unsynced"}`)
	h.add(&h.duplicates, "late/clock", `{"ts":%d,"boot":"1-a","seq":1,"value":1}`, now-777)
	h.improved++
	h.add(&h.duplicates, "late/clock", `{"ts":7,"boot":"1-a","seq":1,"value":1,"clock":"estimated"}`)
	name := `'; DROP TABLE reading; --`
	h.add(&h.stored, name+"/"+name, `{"ts":%d,"boot":"1-a","seq":1,"value":null,"error":"'; DROP TABLE device"}`, now)
	h.add(&h.stored, "home/temp", "21.5")
	h.add(&h.stored, "home/temp", `{"value": 21.5, "battery": 90}`)
	h.add(&h.stored, "home/door", "open")
	for _, bad := range []string{"", "{", "[]", "null", `{"value":{}}`, `{"a":1}`, "\xff\xfe", "NaN", "1e999",
		`{"ts":1,"boot":"1-a","value":1}`, `{"ts":-1,"boot":"1-a","seq":1,"value":1}`,
		`{"ts":1,"boot":"1-a","seq":99999999999999999999,"value":1}`, strings.Repeat("x", 1<<20),
		`{"ts":1,"boot":"1-a","seq":9,"value":1,"unit":"` + strings.Repeat("%", 1<<17) + `"}`} {
		h.add(&h.quarantined, "porch/hum", "%s", bad)
	}
	h.add(&h.quarantined, "porch/agent", "1")
	h.add(&h.quarantined, "agent/hum", "1")
	h.add(&h.quarantined, "/hum", "1")
	h.add(&h.quarantined, "porch/", "1")
	h.add(&h.quarantined, "porch/"+strings.Repeat("y", 300), "1")
	h.add(&h.quarantined, "porch/agent/event", `{"event":"gap"}`)
	var ignored int
	h.add(&ignored, "porch/hum/state", "1") // three levels: not subscribed to
	h.add(&ignored, "a/b/c/d", "1")
	h.add(&ignored, "single", "1")
}
