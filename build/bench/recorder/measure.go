package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// The load: readings of several agents with several streams each, in turn.
const (
	agents  = 20
	streams = 5
	batch   = 5000
)

// unbounded makes the broker queue for a subscriber that is slower than the publisher.
const unbounded = "max_queued_messages 10000000\n"

// reading is the topic and the payload of the i-th reading.
func reading(i int) (topic, payload string) {
	// Each stream gets the numbers 1, 2, 3, ... in order, as an agent sends them.
	agent, stream := i%agents, i/agents%streams
	return fmt.Sprintf("agent-%d/s%d", agent, stream), fmt.Sprintf(
		`{"ts":%d,"boot":"17-9f3c02ab","seq":%d,"value":%d.25,"unit":"%%"}`, 1_763_640_000_000+i, i/(agents*streams)+1, i%50)
}

// build builds the program under measurement from the tree as it is.
func build(ctx context.Context, binary string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/recorder").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// database creates a name of a new database for the recorder's configuration.
func (b *bench) database(ctx context.Context) (string, error) {
	if b.server == "" {
		return "sqlite:" + filepath.Join(b.dir, "h.db"), nil
	}
	db, err := sql.Open("pgx", b.server)
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := fmt.Sprintf("bench_%d", time.Now().UnixNano())
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	u, err := url.Parse(b.server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// open opens a database like another program. options are for SQLite.
func (b *bench) open(name, options string) (*sql.DB, error) {
	if path, ok := strings.CutPrefix(name, "sqlite:"); ok {
		return sql.Open("sqlite", "file:"+path+"?"+options)
	}
	return sql.Open("pgx", name)
}

// ceiling inserts the readings in batches, without a broker and without checks: no recorder
// can be faster with these tables and this disk.
func ceiling(ctx context.Context, b *bench) (float64, error) {
	// The same tables with the same indexes, because these determine the cost.
	name, err := b.database(ctx)
	if err != nil {
		return 0, err
	}
	s, err := store.Open(ctx, store.Options{Database: name})
	if err != nil {
		return 0, err
	}
	s.Close() // the tables exist now
	db, err := b.open(name, "_txlock=immediate&_pragma=synchronous(FULL)&_pragma=temp_store(MEMORY)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for i := range agents * streams { // PostgreSQL needs the streams for its foreign keys
		for _, text := range []string{"INSERT INTO device (id, name, first_seen) VALUES (%d, '%[1]d', 0)",
			"INSERT INTO stream (id, device_id, name) VALUES (%d, %[1]d, 'hum')"} {
			if _, err := db.ExecContext(ctx, fmt.Sprintf(text, i+1)); err != nil {
				return 0, err
			}
		}
	}
	// Like tutorials on batch inserts: many rows, one statement, one transaction.
	const rows = 50
	var places []string
	for i := range rows {
		places = append(places, fmt.Sprintf("($%d, '17-9f3c02ab', $%d, $%d, $%d, $%d, NULL, '%%', NULL, NULL, false)",
			5*i+1, 5*i+2, 5*i+3, 5*i+4, 5*i+5))
	}
	insert, err := db.PrepareContext(ctx, "INSERT INTO reading VALUES "+strings.Join(places, ", "))
	if err != nil {
		return 0, err
	}
	// The time starts here: everything before is done once at the start.
	began := time.Now()
	for i := 0; i < b.n; {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return 0, err
		}
		for j := 0; j < batch && i < b.n; j += rows {
			var args []any
			for range rows {
				args = append(args, i%(agents*streams)+1, i/(agents*streams)+1, 1_763_640_000_000+i, 1_763_640_000_000+i, 25.5)
				i++
			}
			if _, err := tx.StmtContext(ctx, insert).ExecContext(ctx, args...); err != nil {
				tx.Rollback()
				return 0, err
			}
		}
		if err := tx.Commit(); err != nil {
			return 0, err
		}
	}
	return float64(b.n) / time.Since(began).Seconds(), nil
}

// flood publishes readings at QoS 1 as fast as the broker accepts them. All packets are
// encoded beforehand, so that the load needs little CPU time.
func flood(addr string, n int) error {
	var packets bytes.Buffer
	for i := range n {
		topic, payload := reading(i)
		body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
		body = binary.BigEndian.AppendUint16(body, uint16(i%math.MaxUint16+1))
		body = append(body, payload...)
		packets.WriteByte(0x32)
		packets.Write(binary.AppendUvarint(nil, uint64(len(body))))
		packets.Write(body)
	}
	// A plain socket: a library would use more of the two cores than the program under
	// measurement.
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// CONNECT of MQTT 3.1.1 with a clean session and the client ID "pub".
	if _, err := conn.Write([]byte("\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03pub")); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	if _, err := io.CopyN(io.Discard, answers, 4); err != nil { // CONNACK
		return err
	}
	// Acknowledgements have to be read, or the broker stops reading.
	acked := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, answers, int64(n)*4)
		acked <- err
	}()
	if _, err := packets.WriteTo(conn); err != nil {
		return err
	}
	return <-acked
}

// brokerCeiling is the rate of Mosquitto to a subscriber that only acknowledges: no
// recorder can be faster with this broker.
func brokerCeiling(ctx context.Context, b *bench) (float64, error) {
	m, err := mosquitto.Start(b.dir, unbounded)
	if err != nil {
		return 0, err
	}
	defer m.Stop()
	conn, err := subscribe.Dial(ctx, subscribe.Options{Window: 2 * batch, MaxPayload: message.MaxPayload, MaxKept: 1024,
		Filters: []string{"+/+"}, Broker: mqtt.Broker{ClientID: "ceiling", KeepAlive: 30 * time.Second,
			Servers: []*url.URL{{Scheme: "mqtt", Host: m.Addr}}}})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- flood(m.Addr, b.n) }()
	var waiting []subscribe.Message
	for i := range b.n {
		one, err := conn.Read()
		if err != nil {
			return 0, err
		}
		// As many as a broker with a usual window sends at once, so that acknowledgements do not
		// limit the rate.
		if waiting = append(waiting, one); len(waiting) == 100 || i+1 == b.n {
			if err := conn.Acknowledge(waiting); err != nil {
				return 0, err
			}
			waiting = waiting[:0]
		}
	}
	rate := float64(b.n) / time.Since(began).Seconds()
	return rate, <-sent
}

// recorder measures everything: the publisher, Mosquitto, and the program with its
// database, all on this machine's cores. The time ends when another connection to the
// database sees the last reading as committed.
func recorder(ctx context.Context, b *bench) (float64, error) {
	m, err := mosquitto.Start(b.dir, unbounded)
	if err != nil {
		return 0, err
	}
	defer m.Stop()
	conf := filepath.Join(b.dir, "recorder.yaml")
	name, err := b.database(ctx)
	if err != nil {
		return 0, err
	}
	text := fmt.Sprintf("client_id: rec\nmqtt: {server: \"mqtt://%s\"}\ndatabase: %q\n", m.Addr, name)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "run", "-c", conf)
	stop, err := start(cmd)
	if err != nil {
		return 0, err
	}
	defer stop()
	db, err := b.open(name, "mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	// Subscribed before the first message, because the broker would drop messages without a
	// subscriber.
	if err := until(ctx, db, "SELECT count(*) FROM connection", 1); err != nil {
		return 0, err
	}
	// Stored means committed: the counter is part of the same transaction.
	rate, err := b.rate(ctx, m.Addr, db, "SELECT value FROM counter WHERE name = 'stored'")
	if err != nil {
		return 0, err
	}
	var rows int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM reading").Scan(&rows); err != nil || rows != b.n {
		return 0, fmt.Errorf("%d rows in place of %d: %v", rows, b.n, err)
	}
	b.peak = max(b.peak, peakMemory(cmd.Process.Pid)) // before SIGTERM
	return rate, nil
}

// start starts a program that ends with this process. stop stops it with SIGTERM.
func start(cmd *exec.Cmd) (stop func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}, nil
}

// rate publishes b.n readings to the broker at addr, and returns how many were stored per
// second: until query returns their number.
func (b *bench) rate(ctx context.Context, addr string, db *sql.DB, query string) (float64, error) {
	began := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- flood(addr, b.n) }()
	if err := until(ctx, db, query, b.n); err != nil {
		return 0, err
	}
	return float64(b.n) / time.Since(began).Seconds(), <-sent
}

// until waits until a query returns a number, for ten minutes at most.
func until(ctx context.Context, db *sql.DB, query string, want int) error {
	for end := time.Now().Add(10 * time.Minute); ctx.Err() == nil && time.Now().Before(end); {
		var n int
		if db.QueryRowContext(ctx, query).Scan(&n) == nil && n >= want {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s does not reach %d", query, want)
}

// peakMemory is the maximum memory of a process, in kB.
func peakMemory(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	// The high-water mark of the resident set: proc(5).
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kb, _ := strconv.Atoi(strings.Fields(after + " 0")[0])
	return kb
}

// callback is the subscriber of tutorials: one row and one COMMIT in the callback. Its
// table is as simple as theirs, without an index, which makes it faster.
func callback(ctx context.Context, b *bench) (float64, error) {
	// It is two orders of magnitude slower, and its rate does not depend on the number.
	n := max(b.n/50, 100)
	m, err := mosquitto.Start(b.dir, unbounded)
	if err != nil {
		return 0, err
	}
	defer m.Stop()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.dir, "h.db"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE reading (topic TEXT, payload TEXT)"); err != nil {
		return 0, err
	}
	// Used only by the callback: the library calls it from one goroutine.
	done := make(chan error, 1)
	got := 0
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + m.Addr).SetClientID("tutorial"))
	if tok := client.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		return 0, fmt.Errorf("connect: %w", tok.Error())
	}
	defer client.Disconnect(100)
	tok := client.Subscribe("+/+", 1, func(_ paho.Client, msg paho.Message) {
		_, err := db.Exec("INSERT INTO reading VALUES (?, ?)", msg.Topic(), string(msg.Payload()))
		if got++; err != nil || got == n {
			done <- err
		}
	})
	if !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		return 0, fmt.Errorf("subscribe: %w", tok.Error())
	}
	began := time.Now()
	if err := flood(m.Addr, n); err != nil {
		return 0, err
	}
	select {
	case err := <-done:
		return float64(n) / time.Since(began).Seconds(), err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
