package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// proving is set by build/prove: tests then run all cases and not a sample.
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

// waitForMore waits until so many more readings are stored.
func (r *recorder) waitForMore(by int) {
	r.t.Helper()
	const query = "SELECT value FROM counter WHERE name = 'stored'"
	from := r.count(query)
	eventually(r.t, "readings are stored", func() bool { return r.count(query) >= from+by })
}

// unaccounted returns how many numbers of all boots are neither stored nor in the table gap.
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
// at random. The broker keeps running, so only readings that an agent has declared lost may be
// missing.
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
		r.waitForMore(200 + rng.IntN(400))
		r.kill()
		victim := agents[fmt.Sprintf("agent-%d", rng.IntN(5))]
		victim.kill()
		victim.start()
		r.start()
	}
	r.waitForMore(1000)
	r.complete(agents)
}

// TestAKilledBrokerIsExplained kills the broker, too. It loses what it acknowledged after it last
// saved: Verify must name and count these gaps, and there must be no others.
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
		r.waitForMore(200 + rng.IntN(2000))
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
	r.waitForMore(2000)
	for _, a := range agents {
		a.stop()
	}
	for name := range agents {
		r.waitExplained(t, name)
	}
	if n := r.unaccounted(); n != 0 {
		t.Errorf("%d numbers are not accounted for", n)
	}
	t.Logf("%d kills of the broker: %s", kills, r.counters())
}

// TestLateAgentIsExplained kills the broker while the recorder is away, and the agent
// connects again long after the broker's queue was stored. Readings missing before that are explained;
// readings that the agent loses at a later connection are not.
func TestLateAgentIsExplained(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	broker := startMosquitto(t, addr, "persistence true\nautosave_interval 3600\n")
	r := startRecorder(t, addr, "")
	stored := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " readings are stored"), func() bool {
			return r.count("SELECT count(*) FROM reading") == n
		})
	}
	publishNumbers(t, publisher(t, addr, "porch"), 1, 1)
	stored(1)
	r.kill()
	late := publisher(t, addr, "porch")
	publishNumbers(t, late, 2, 500)
	broker.waitSaved(`"seq":500,`)
	publishNumbers(t, late, 501, 510) // the broker does not save these
	broker.kill()
	broker.start()
	waitFor(t, addr)
	r.start()
	stored(500)
	publishNumbers(t, publisher(t, addr, "porch"), 511, 520)
	stored(510)
	r.waitExplained(t, "porch")
	publishNumbers(t, publisher(t, addr, "porch"), 528, 530) // the agent has lost seven
	stored(513)
	out, status := r.output("verify", "porch")
	if status != 1 || !strings.Contains(out, "not explained: 7") ||
		!strings.Contains(out, "lost by the broker (queue): 10") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// TestFullQueueIsExplained stops the recorder for a moment while readings come. Mosquitto keeps
// the window of 20 and a queue of 100, and drops the others, which it has acknowledged. If it
// counts them (sys_interval), they are explained; else there is a hint.
func TestFullQueueIsExplained(t *testing.T) {
	t.Parallel()
	acl := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte("topic readwrite +/+\ntopic readwrite +/agent/+\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, conf := range map[string]string{"counted": "sys_interval 1\n", "not counted": "sys_interval 0\n",
		"denied": "sys_interval 1\nacl_file " + acl + "\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fullQueue(t, conf, name == "counted")
		})
	}
}

// fullQueue runs a broker with a configuration. counted: the recorder can read its count of drops.
func fullQueue(t *testing.T, conf string, counted bool) {
	addr := freeAddr(t)
	startMosquitto(t, addr, "max_queued_messages 100\n"+conf)
	r := startRecorder(t, addr, "batch: {size: 10}\n")
	last := r.flood(publisher(t, addr, "porch"), counted)
	lost := last - r.count("SELECT count(*) FROM reading")
	if lost < 300 {
		t.Errorf("the broker dropped %d of %d readings, want most of 500", lost, last)
	}
	said := fmt.Sprintf("not explained: %d\n", lost)
	if counted {
		r.waitExplained(t, "porch")
		said = fmt.Sprintf("lost by the broker (dropped): %d:", lost)
	}
	out, status := r.output("verify", "porch")
	if (status == 0) != counted || !strings.Contains(out, said) || !strings.Contains(out, "max_queued_messages") {
		t.Errorf("status %d\n%s", status, out)
	}
	if strings.Contains(r.err.String(), "drops messages of full queues") != counted {
		t.Errorf("the recorder's log:\n%s", r.err)
	}
}

// flood stops the recorder while 500 readings are published, and returns the number of a
// later one that is stored. counted: the broker has published its count of drops before.
func (r *recorder) flood(c mqtt.Client, counted bool) (last int) {
	r.t.Helper()
	if counted {
		waitCounted(r.t, c)
	}
	reached := func(n int) bool { return r.count("SELECT coalesce(max(last_seq), 0) FROM sequence") >= n }
	publishNumbers(r.t, c, 1, 1)
	eventually(r.t, "the first reading is stored", func() bool { return reached(1) })
	r.cmd.Process.Signal(syscall.SIGSTOP)
	publishMore(r.t, c, 2, 501)
	r.cmd.Process.Signal(syscall.SIGCONT)
	// While the queue is still full, this message is dropped, too: publish another one repeatedly.
	last = 501
	calls := 0
	eventually(r.t, "a later reading is stored", func() bool {
		if calls++; calls%50 == 1 {
			last++
			publishMore(r.t, c, last, last)
		}
		return reached(last)
	})
	return last
}

// waitCounted waits until Mosquitto has published twice what it has dropped: the recorder, which
// has subscribed before, has the first.
func waitCounted(t *testing.T, c mqtt.Client) {
	t.Helper()
	uptimes := make(chan struct{}, 100)
	tok := c.Subscribe("$SYS/broker/uptime", 1, func(mqtt.Client, mqtt.Message) { uptimes <- struct{}{} })
	if !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal("subscribe: ", tok.Error())
	}
	for range 3 { // the first may be retained
		select {
		case <-uptimes:
		case <-time.After(2 * time.Minute):
			t.Fatal("Mosquitto publishes no uptime")
		}
	}
}

// publishNumbers publishes like an agent that has just connected: its status, and
// readings of a boot with the numbers from to to.
func publishNumbers(t *testing.T, c mqtt.Client, from, to int) {
	t.Helper()
	publish(t, c, "agent/status", true, "online")
	publishMore(t, c, from, to)
}

// publishMore publishes readings like an agent that stays connected.
func publishMore(t *testing.T, c mqtt.Client, from, to int) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		publish(t, c, "hum", false, fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":1}`, time.Now().UnixMilli(), seq))
	}
}

// publish publishes a message of the device porch, and waits for its acknowledgement.
func publish(t *testing.T, c mqtt.Client, topic string, retained bool, payload string) {
	t.Helper()
	if tok := c.Publish("porch/"+topic, 1, retained, payload); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal("publish: ", tok.Error())
	}
}

// waitSaved makes Mosquitto save what it has, and waits until a text is in its file.
func (p *program) waitSaved(text string) {
	p.t.Helper()
	eventually(p.t, "Mosquitto saves "+text, func() bool {
		p.cmd.Process.Signal(syscall.SIGUSR1)
		saved, _ := os.ReadFile(filepath.Join(filepath.Dir(p.cmd.Args[2]), "mosquitto.db"))
		return bytes.Contains(saved, []byte(text))
	})
}
