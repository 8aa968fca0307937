package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// natsServerPath is where build/brokers/nats-server puts the program.
const natsServerPath = "../../build/.cache/brokers/nats-server"

// A natsCluster is three servers with JetStream and the MQTT gateway, on loopback.
type natsCluster struct {
	t       *testing.T
	servers [3]*program
	mqtt    [3]string // HOST:PORT of the gateways
	clients [3]string // of the NATS protocol
	monitor [3]string // of the HTTP pages
}

// startNATS starts a cluster, and waits until each server has its streams.
func startNATS(t *testing.T) *natsCluster {
	t.Helper()
	if _, err := os.Stat(natsServerPath); err != nil {
		t.Fatal("nats-server is not there: run build/brokers/nats-server")
	}
	c := &natsCluster{t: t}
	var routes [3]string
	for i := range c.servers {
		c.mqtt[i], c.clients[i], c.monitor[i], routes[i] = freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	}
	for i := range c.servers {
		dir := t.TempDir()
		conf := filepath.Join(dir, "nats.conf")
		text := fmt.Sprintf(`server_name: n%d
listen: "%s"
http: "%s"
jetstream: {store_dir: "%s"}
mqtt: {listen: "%s", stream_replicas: 3}
cluster: {name: history, listen: "%s", routes: ["nats://%s"]}
`, i+1, c.clients[i], c.monitor[i], dir, c.mqtt[i], routes[i], strings.Join(routes[:], `", "nats://`))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.servers[i] = &program{t: t, make: func() *exec.Cmd { return exec.Command(natsServerPath, "-c", conf) }}
		c.servers[i].start()
		t.Cleanup(c.servers[i].kill)
	}
	c.healthy()
	return c
}

// patience is how long a cluster may take to elect leaders and to catch up: on a machine
// under heavy load the servers miss their own deadlines, and start again.
const patience = 5 * time.Minute

// healthy waits until each server has caught up with the others.
func (c *natsCluster) healthy() {
	c.t.Helper()
	for i, addr := range c.monitor {
		var last string
		for end := time.Now().Add(patience); last != "200 OK"; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				c.t.Fatalf("NATS server %d is not healthy within %v: %s", i+1, patience, last)
			}
			answer, err := http.Get("http://" + addr + "/healthz")
			if err != nil {
				last = err.Error()
				continue
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if last = answer.Status; answer.StatusCode != http.StatusOK {
				last += ": " + string(text)
			}
		}
	}
}

// TestANATSClusterLosesNothing kills each server of a cluster in turn, and each of two
// recorders that share one consumer. At any time two of three servers run, so nothing may be missing
// or stored twice.
func TestANATSClusterLosesNothing(t *testing.T) {
	if !proving {
		t.Skip("needs a nats-server, which build/prove builds")
	}
	length, err := time.ParseDuration(os.Getenv("HOLDFAST_NATS_FOR"))
	if err != nil {
		length = 20 * time.Second
	}
	database := postgrestest.Start(t).Database(t)
	cluster := startNATS(t)
	first := publisher(t, cluster.mqtt[0], "old") // the gateway makes its streams for the first client
	published(t, first.Publish("old/agent/status", 1, true, "online"))
	var group [2]*recorder
	for i := range group {
		group[i] = startRecorderWith(t, "", database, fmt.Sprintf("client_id: recorder-%d\n"+
			"nats: {servers: [\"nats://%s\"], share: history}\n", i+1, strings.Join(cluster.clients[:], `", "nats://`)))
	}
	eventually(t, "what was retained before is known", func() bool {
		return group[0].count("SELECT count(*) FROM device_status WHERE online") == 1
	})
	eventually(t, "a heartbeat at QoS 0 arrives", func() bool {
		published(t, first.Publish("old/agent/health", 0, true, `{"ts":1763640000123,"backlog":7}`))
		return group[0].count("SELECT count(*) FROM device_status WHERE backlog = 7") == 1
	})
	agents := startAgents(t, 4, cluster.mqtt[:]...)
	t.Cleanup(func() {
		if t.Failed() {
			cluster.logMissing(group[0])
		}
	})
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end) || kills < len(cluster.servers); kills++ {
		group[0].waitForMoreOnNATS(300)
		victim := cluster.servers[kills%len(cluster.servers)]
		victim.kill()
		group[0].waitForMoreOnNATS(300) // with two servers of three
		victim.start()
		cluster.healthy()
		group[kills%2].kill()
		group[0].waitForMoreOnNATS(300)
		group[kills%2].start()
	}
	group[0].waitForMoreOnNATS(1000)
	for _, a := range agents {
		a.stop()
	}
	// If its canary does not come back in time, an agent declares its messages unproven, even if all
	// have arrived. So the test compares rows, not declarations.
	group[0].catchUp()
	twice := group[0].count("SELECT count(*) - count(DISTINCT (stream_id, boot, seq)) FROM reading")
	rows := group[0].count("SELECT count(*) FROM reading")
	if twice != 0 || rows == 0 {
		t.Errorf("%d rows, %d of them twice", rows, twice)
	}
	t.Logf("%d kills of a server, %d of a recorder: %d rows, 0 lost, %d twice; %s", kills, kills, rows, twice,
		group[0].counters())
}

// waitForMoreOnNATS is waitForMore with patience as its limit.
func (r *recorder) waitForMoreOnNATS(by int) {
	r.t.Helper()
	const stored = "SELECT value FROM counter WHERE name = 'stored'"
	from := r.count(stored)
	for end := time.Now().Add(patience); r.count(stored) < from+by; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%d readings are stored within %v, want %d", r.count(stored)-from, patience, by)
		}
	}
}

func published(t *testing.T, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(time.Minute) || token.Error() != nil {
		t.Fatal("publish: ", token.Error())
	}
}

// catchUp waits until each number is in the table. It gives up if no more of them arrive.
func (r *recorder) catchUp() {
	r.t.Helper()
	const missing = `SELECT 1 + (SELECT sum(last_seq) FROM sequence) - (SELECT count(*) FROM reading)`
	last := 0
	for since := time.Now(); time.Since(since) < patience; time.Sleep(100 * time.Millisecond) {
		n := r.count(missing) // 0: it cannot be read
		if n == 1 {
			return
		}
		if n != last {
			last, since = n, time.Now()
		}
	}
	r.t.Fatalf("%d numbers are missing, and none has come for %v", last-1, patience)
}

// logMissing logs what the consumer has left, and whether the stream has some of the missing readings:
// if so, the recorders have not stored them; if not, the cluster has lost them.
func (c *natsCluster) logMissing(r *recorder) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	nc, err := nats.Connect("nats://" + strings.Join(c.clients[:], ",nats://"))
	if err != nil {
		c.t.Log(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Log(err)
		return
	}
	if consumer, err := js.Consumer(ctx, "$MQTT_msgs", "history"); err == nil {
		c.t.Logf("the consumer: %d pending, %d not acknowledged", consumer.CachedInfo().NumPending,
			consumer.CachedInfo().NumAckPending)
	}
	there, err := inStream(ctx, js)
	missing := r.missing()
	c.t.Logf("the stream has %d different readings (%v), the table misses %d", len(there), err, len(missing))
	for _, name := range missing[:min(len(missing), 20)] {
		c.t.Logf("missing: %s, in the stream %d times", name, there[name])
	}
}

// inStream counts the copies of each reading that the stream has, by DEVICE/STREAM SEQ.
func inStream(ctx context.Context, js jetstream.JetStream) (map[string]int, error) {
	there := map[string]int{}
	all, err := js.OrderedConsumer(ctx, "$MQTT_msgs", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"$MQTT.msgs.*.*"}})
	if err != nil {
		return there, err
	}
	info, err := all.Info(ctx)
	if err != nil {
		return there, err
	}
	iterator, err := all.Messages()
	if err != nil {
		return there, err
	}
	defer iterator.Stop()
	for range info.NumPending {
		m, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return there, err
		}
		var reading struct{ Seq int64 }
		if err := json.Unmarshal(m.Data(), &reading); err != nil {
			return there, err
		}
		topic := strings.ReplaceAll(strings.TrimPrefix(m.Subject(), "$MQTT.msgs."), ".", "/")
		there[fmt.Sprintf("%s %d", topic, reading.Seq)]++
	}
	return there, nil
}

// missing names the readings whose numbers are not in the table, as DEVICE/STREAM SEQ.
func (r *recorder) missing() (names []string) {
	db, err := sql.Open("pgx", r.database)
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT d.name || '/' || s.name || ' ' || n FROM sequence q
		JOIN stream s ON s.id = q.stream_id JOIN device d ON d.id = s.device_id, generate_series(1, q.last_seq) n
		WHERE NOT EXISTS (SELECT FROM reading WHERE stream_id = q.stream_id AND boot = q.boot AND seq = n)`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			r.t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}
