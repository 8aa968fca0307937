package recipes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
)

// proving is set by build/recipes/run, which has what the recipes need.
var proving = os.Getenv("HOLDFAST_PROVE") != ""

// cache is the folder in which build/recipes/fetch stores programs.
const cache = "../.cache/recipes/"

// A program is a process that a course starts, kills and restarts. If it ends without a
// kill, it is restarted half a second later, as by a service manager.
type program struct {
	t    *testing.T
	make func() *exec.Cmd
	log  *os.File // the output of all starts

	mu     sync.Mutex
	cmd    *exec.Cmd     // guarded by mu; nil: it must not run
	ended  chan struct{} // guarded by mu; closed when the goroutine that waits for it has ended
	starts int           // guarded by mu
}

// newProgram starts a program, which is killed at the end of the test.
func newProgram(t *testing.T, make func() *exec.Cmd) *program {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, make: make, log: log}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%d starts:\n%s", p.starts, text[max(0, len(text)-4000):])
		}
		log.Close()
	})
	return p
}

// start starts the program, and restarts it when it ends.
func (p *program) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run()
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		for cmd := p.cmd; cmd != nil; cmd = p.next() {
			cmd.Wait()
			time.Sleep(500 * time.Millisecond)
		}
	}()
}

// run starts the process. The caller holds mu.
func (p *program) run() {
	p.cmd = p.make()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.starts++
	if err := p.cmd.Start(); err != nil {
		p.t.Error(err)
		p.cmd = nil
	}
}

// next restarts the process, unless it must not run.
func (p *program) next() *exec.Cmd {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.run()
	}
	return p.cmd
}

// kill sends SIGKILL, stop SIGTERM. Both return when the process has ended.
func (p *program) kill() { p.end(syscall.SIGKILL) }
func (p *program) stop() { p.end(syscall.SIGTERM) }

func (p *program) end(by syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		cmd.Process.Signal(by)
	}
	<-ended
}

// eventually waits for a condition. It fails the test after three minutes, which a machine
// under heavy load needs.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within three minutes: %s", what)
		}
	}
}

// write writes a file of a recipe.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// blocks are the files of a page, with the addresses of the test.
func blocks(t *testing.T, page string) map[string]string {
	t.Helper()
	files, err := Blocks(page)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// with replaces addresses.
func with(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	text, err := at(text, pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// counted has the counts of one client in a database: rows, and different readings.
type counted struct{ rows, distinct, misdated int }

// A course tests a consumer: with foreign payloads and duplicates, with SIGKILL, with a
// stop of its database, and with both at the same time, while readings arrive.
type course struct {
	t        *testing.T
	broker   *mosquitto.Broker
	consumer *program
	hostile  bool                        // publish also payloads that look like readings
	count    func(client string) counted // zero while the database cannot be asked
	stop     func()                      // stops the database
	start    func()

	agent  mqtt.Client
	seq    int
	probes int
	begin  time.Time
}

// startBroker starts Mosquitto as docs/recipes/README.md describes it.
func startBroker(t *testing.T) *mosquitto.Broker {
	t.Helper()
	dir := t.TempDir()
	b, err := mosquitto.Start(dir, "persistence true\npersistence_location "+dir+"/\nmax_queued_messages 1000000\n"+
		"max_inflight_messages 1000\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// steps is the number of readings in each step of a course.
const steps = 400

// run runs the course, and returns how many readings are missing, duplicate, or have a time
// other than that of the measurement.
func (c *course) run() (lost, twice, misdated int) {
	c.t.Helper()
	c.agent = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + c.broker.Addr).SetClientID("porch"))
	if token := c.agent.Connect(); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		c.t.Fatal("the agent cannot connect: ", token.Error())
	}
	defer c.agent.Disconnect(100)
	c.begin = time.Now().Add(-2 * time.Hour).Truncate(time.Millisecond) // a backlog
	c.stores()
	c.readings(steps)
	c.foreign()
	c.readings(steps / 2)
	c.consumer.kill()
	c.readings(steps / 2)
	c.consumer.start()
	c.stores()
	c.readings(steps)
	c.stop()
	c.readings(steps / 2)
	c.consumer.kill() // with readings that it could not store
	c.consumer.start()
	c.readings(steps / 2)
	c.start()
	c.stores()
	c.readings(steps)
	found := c.steady()
	return c.seq - found.distinct, found.rows - found.distinct, found.misdated
}

// stores waits until the consumer stores what it receives. On a machine under load the
// start of a program takes long, and a course does not measure that.
func (c *course) stores() {
	c.t.Helper()
	before := c.count("probe").distinct
	eventually(c.t, "the consumer stores what it gets", func() bool {
		c.probes++
		c.publish("probe/hum", reading(c.begin, c.probes))
		return c.count("probe").distinct > before
	})
}

// pace is the pause between two readings, as at a real site.
const pace = 2 * time.Millisecond

// reading is the payload of an agent. One in ten has no value.
func reading(begin time.Time, seq int) string {
	ts := begin.UnixMilli() + int64(seq)*10
	if seq%10 == 0 {
		return fmt.Sprintf(`{"ts":%d,"boot":"17-9f3c02ab","seq":%d,"value":null,"error":"i2c-1 0x38: no acknowledge"}`,
			ts, seq)
	}
	return fmt.Sprintf(`{"ts":%d,"boot":"17-9f3c02ab","seq":%d,"value":%d.5,"unit":"%%","historical":true}`,
		ts, seq, seq)
}

// readings publishes the next n readings, one in ten of them twice.
func (c *course) readings(n int) {
	for range n {
		time.Sleep(pace)
		c.seq++
		payload := reading(c.begin, c.seq)
		c.publish("porch/hum", payload)
		if c.seq%10 == 3 {
			c.publish("porch/hum", payload)
		}
	}
}

// foreign publishes messages that are not readings, as other programs do on topics with two
// levels.
func (c *course) foreign() {
	for _, m := range [][2]string{{"homeassistant/status", "online"}, {"porch/hum", ""}, {"porch/hum", "{"},
		{"porch/hum", "[]"}, {"zigbee/lamp", `{"brightness":254}`}, {"porch/hum", "\xff\xfe"}} {
		c.publish(m[0], m[1])
	}
	if c.hostile {
		for i, payload := range hostile {
			c.publish("zigbee/lamp", fmt.Sprintf(payload, i+1))
		}
	}
}

// hostile are payloads that look like readings, and that the table refuses. %d is the
// number.
var hostile = []string{
	`{"ts":1e300,"boot":"1-a","seq":%d,"value":1}`,
	`{"ts":-1e15,"boot":"1-a","seq":%d,"value":1}`,
	`{"ts":5,"boot":"1-a","seq":"x%d","value":1}`,
	`{"ts":5,"boot":"1-a","seq":%d0000000000000000000,"value":1}`,
	`{"ts":5,"boot":"1-a","seq":%d,"value":"wet"}`,
	`{"ts":5,"boot":"1-a","seq":%d,"value":{}}`,
	`{"ts":5,"boot":["a"],"seq":%d,"value":1}`,
	`{"ts":5,"boot":"1-a","seq":%d,"value":1,"state":{"a":1}}`,
	`{"ts":5,"boot":"1-a","seq":%d,"value":1,"state":"a\u0000b"}`,
	`{"ts":5,"boot":"1-a","seq":%d,"value":1,"error":"\ud800"}`,
}

// publish publishes at QoS 1 and waits for the acknowledgement.
func (c *course) publish(topic, payload string) {
	c.t.Helper()
	if token := c.agent.Publish(topic, 1, false, payload); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		c.t.Fatal("publish: ", token.Error())
	}
}

// steady waits until all readings have arrived, or nothing has arrived for 20 s.
func (c *course) steady() (found counted) {
	for last := time.Now(); time.Since(last) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
		now := c.count("porch")
		if now.distinct >= c.seq {
			return now
		}
		if now.distinct > found.distinct {
			found, last = now, time.Now()
		}
	}
	return found
}

// losesNothing runs the course, and fails the test if readings are lost, duplicate, or have
// a wrong time.
func (c *course) losesNothing() {
	c.t.Helper()
	lost, twice, misdated := c.run()
	c.t.Logf("%d published: %d lost, %d twice, %d with another time", c.seq, lost, twice, misdated)
	if lost != 0 || twice != 0 || misdated != 0 {
		c.t.Error("the recipe says that nothing is lost, twice or misdated")
	}
}
