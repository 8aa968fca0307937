package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proving is set by build/prove: a test that takes a sample then takes all.
var proving = os.Getenv("HOLDFAST_PROVE") != ""

// startAgents starts n agents of 200 readings a second each, and returns them by name.
// They connect to the first of the brokers that answers.
func startAgents(t *testing.T, n int, brokers ...string) map[string]*program {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-o", binary, "../holdfast").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	agents := map[string]*program{}
	for i := range n {
		name := fmt.Sprintf("agent-%d", i)
		conf := filepath.Join(dir, name+".yaml")
		text := fmt.Sprintf("client_id: %s\nmqtt: {servers: [\"mqtt://%s\"]}\nqueue: {path: %s}\nsensors:\n"+
			"  load: {kind: simulated, counter: {}, every: 10ms}\n"+
			"  more: {kind: simulated, counter: {}, every: 10ms}\n"+
			"  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}\n",
			name, strings.Join(brokers, `", "mqtt://`), filepath.Join(dir, name, "queue.db"))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := &program{t: t, make: func() *exec.Cmd { return exec.Command(binary, "run", "-c", conf) }}
		p.start()
		t.Cleanup(p.kill)
		agents[name] = p
	}
	return agents
}

// grows waits until so many more readings are stored.
func (r *recorder) grows(by int) {
	r.t.Helper()
	const query = "SELECT value FROM counter WHERE name = 'stored'"
	from := r.count(query)
	eventually(r.t, "readings are stored", func() bool { return r.count(query) >= from+by })
}

// unaccounted is how many numbers of all boots are neither stored nor in the table gap.
func (r *recorder) unaccounted() int {
	if r.count("SELECT count(*) FROM sequence") == 0 {
		r.t.Fatal("the database has no sequence")
	}
	return r.count(`SELECT coalesce(sum(abs(q.last_seq
		- (SELECT count(*) FROM reading WHERE stream_id = q.stream_id AND boot = q.boot)
		- (SELECT coalesce(sum(count), 0) FROM gap
			WHERE stream_id = q.stream_id AND boot = q.boot AND state <> 'filled' AND to_seq <= q.last_seq))), -1)
		FROM sequence q`)
}

// TestKilledAgentsAndRecorderLoseNothing kills agents and the recorder with SIGKILL,
// at random. The broker lives: so nothing may be missing but what an agent has
// declared.
func TestKilledAgentsAndRecorderLoseNothing(t *testing.T) {
	t.Parallel()
	kills := 3
	if proving {
		kills = 10
	}
	addr := freeAddr(t)
	startMosquitto(t, addr, "")
	r := startRecorder(t, addr, "")
	agents := startAgents(t, 5, addr)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for range kills {
		r.grows(200 + rng.IntN(400))
		r.kill()
		victim := agents[fmt.Sprintf("agent-%d", rng.IntN(5))]
		victim.kill()
		victim.start()
		r.start()
	}
	r.grows(1000)
	r.complete(agents)
}

// TestAKilledBrokerIsExplained kills the broker, too. What it acknowledged since it
// last saved is lost: each such hole is named and counted, and there is no other.
func TestAKilledBrokerIsExplained(t *testing.T) {
	t.Parallel()
	kills := 2
	if proving {
		kills = 10
	}
	addr := freeAddr(t)
	broker := startMosquitto(t, addr, "persistence true\nautosave_interval 1\n")
	r := startRecorder(t, addr, "")
	agents := startAgents(t, 5, addr)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for i := range kills {
		r.grows(200 + rng.IntN(2000))
		if i%2 == 1 { // both at the same time
			r.kill()
			r.start()
		}
		broker.kill()
		broker.start()
		waitFor(t, addr)
		victim := agents[fmt.Sprintf("agent-%d", rng.IntN(5))]
		victim.kill()
		victim.start()
	}
	r.grows(2000)
	for _, a := range agents {
		a.stop()
	}
	for name := range agents {
		r.explains(t, name)
	}
	if n := r.unaccounted(); n != 0 {
		t.Errorf("%d numbers are not accounted for", n)
	}
	t.Logf("%d kills of the broker: %s", kills, r.counters())
}
