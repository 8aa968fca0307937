package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
)

// telegrafTables are the tables of docs/recipes/telegraf.md, including the trigger without
// which a duplicate makes a whole batch fail.
const telegrafTables = `
CREATE TABLE reading (
	time timestamptz NOT NULL, client_id text NOT NULL, stream text NOT NULL, boot text NOT NULL,
	seq bigint NOT NULL, value double precision, state text, error text,
	PRIMARY KEY (client_id, stream, boot, seq)
);
CREATE INDEX reading_time ON reading (client_id, stream, time);
CREATE FUNCTION pass_over_second_copy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM reading WHERE client_id = NEW.client_id AND stream = NEW.stream
			AND boot = NEW.boot AND seq = NEW.seq) THEN
		RETURN NULL;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER once BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION pass_over_second_copy();
`

// telegrafConfig is the configuration of the recipe with the batch size of the recorder,
// and placeholders for the broker and the database.
const telegrafConfig = `
[agent]
  flush_interval = "250ms"
  flush_jitter = "0s"
  metric_batch_size = 5000
  metric_buffer_limit = 100000
  omit_hostname = true
  skip_processors_after_aggregators = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://%s"]
  client_id = "telegraf-1"
  persistent_session = true
  qos = 1
  topics = ["+/+"]
  topic_tag = ""
  max_undelivered_messages = 20000
  data_format = "json_v2"
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "+/+"
    tags = "client_id/stream"
  [[inputs.mqtt_consumer.json_v2]]
    measurement_name = "reading"
    timestamp_path = "ts"
    timestamp_format = "unix_ms"
    [[inputs.mqtt_consumer.json_v2.tag]]
      path = "boot"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "seq"
      type = "int"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "value"
      type = "float"
      optional = true
[[outputs.postgresql]]
  connection = %q
  timestamp_column_type = "timestamp with time zone"
  create_templates = []
  add_column_templates = []
`

// telegraf is Telegraf with PostgreSQL, with the binary that build/recipes/fetch builds.
// The broker has no limit of messages in flight for it: with Mosquitto's 20 it would
// receive 80 readings a second.
func telegraf(ctx context.Context, b *bench) (rate float64, err error) {
	m, err := mosquitto.Start(b.dir, unbounded+"max_inflight_messages 0\n")
	if err != nil {
		return 0, err
	}
	defer m.Stop()
	name, err := b.database(ctx)
	if err != nil {
		return 0, err
	}
	db, err := sql.Open("pgx", name)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, telegrafTables); err != nil {
		return 0, err
	}
	conf := filepath.Join(b.dir, "telegraf.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, telegrafConfig, m.Addr, name), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.telegraf, "--config", conf, "--quiet")
	stop, err := start(cmd)
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := subscribed(ctx, m.Addr, db); err != nil {
		return 0, err
	}
	return b.rate(ctx, m.Addr, db, "SELECT count(*) FROM reading WHERE client_id <> 'probe'")
}

// subscribed publishes readings until one of them is in the table.
func subscribed(ctx context.Context, addr string, db *sql.DB) error {
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("probe"))
	if tok := client.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		return fmt.Errorf("connect: %w", tok.Error())
	}
	defer client.Disconnect(100)
	for i := 1; i <= 120 && ctx.Err() == nil; i++ {
		text := fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":1}`, time.Now().UnixMilli(), i)
		client.Publish("probe/s", 1, false, text).WaitTimeout(time.Second)
		time.Sleep(500 * time.Millisecond)
		var n int
		if db.QueryRowContext(ctx, "SELECT count(*) FROM reading").Scan(&n) == nil && n > 0 {
			return nil
		}
	}
	return errors.New("no reading arrives in a minute")
}
