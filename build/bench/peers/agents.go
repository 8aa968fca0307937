package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/peers/wire"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// holdfast is the agent without its sensors.
type holdfast struct {
	queue *queue.Queue
	clock *clock.Timekeeper
	stop  context.CancelFunc
	ended chan struct{}
}

// openHoldfast uses a window that is one larger than that of the others: the last place is
// reserved for an alarm. A configured window does not grow.
func openHoldfast(ctx context.Context, j job) (peer, error) { return startHoldfast(ctx, j, j.Window+1) }

func openDefault(ctx context.Context, j job) (peer, error) { return startHoldfast(ctx, j, 0) }

func startHoldfast(ctx context.Context, j job, window int) (peer, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	h := &holdfast{clock: clock.NewTimekeeper(clock.TrustAlways), ended: make(chan struct{})}
	var err error
	h.queue, err = queue.Open(queue.Options{Path: filepath.Join(j.Dir, "queue.db"), MaxSize: 1 << 30,
		SyncEvery: 5 * time.Second, Clock: h.clock}, log)
	if err != nil {
		return nil, err
	}
	opt := uplink.Options{Broker: mqtt.Broker{ClientID: "bench", Servers: []*url.URL{{Scheme: "mqtt", Host: j.Broker}},
		KeepAlive: 15 * time.Second, Clock: h.clock}, Topics: payload.DefaultPatterns, Boot: h.queue.Boot(),
		Streams: []sensors.Stream{{Name: "room"}}, Drain: uplink.Drain{Window: window}}
	link := uplink.New(opt, h.queue, uplink.DialMQTT(opt.Broker), log)
	ctx, h.stop = context.WithCancel(ctx)
	go func() {
		defer close(h.ended)
		go link.Run(ctx)
		h.queue.Run(ctx)
	}()
	return h, nil
}

func (h *holdfast) put(seq int, _ []byte) error {
	h.queue.Put(sensors.Reading{Stream: "room", Seq: uint64(seq), Value: 20 + float64(seq%700)/100, Unit: "°C",
		At: h.clock.Now()})
	return nil
}

func (h *holdfast) close() error {
	h.stop()
	<-h.ended
	return h.queue.Close()
}

// child starts a program that belongs to the peer.
func child(name string, args ...string) (*exec.Cmd, error) {
	c := exec.Command(name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	fmt.Println("child", c.Process.Pid)
	return c, nil
}

// bridge is a Mosquitto beside the sensor, which stores what the remote broker does not
// have yet.
type bridge struct {
	conn *wire.Conn
	cmd  *exec.Cmd
	id   uint16
	buf  []byte
}

const bridgeConfig = `user root
listener %s 127.0.0.1
max_inflight_messages %d
allow_anonymous true
log_dest none
persistence true
persistence_location %s/
max_queued_messages 0
%sconnection edge
address %s
clientid bench-bridge
cleansession false
restart_timeout 1
notifications false
topic %s out 1
`

func openBridge(_ context.Context, j job) (peer, error) { return startBridge(j, "") }

func openSavingBridge(_ context.Context, j job) (peer, error) {
	return startBridge(j, "autosave_on_changes true\nautosave_interval 1\n")
}

func startBridge(j job, saving string) (peer, error) {
	_, port, err := net.SplitHostPort(j.Room)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(j.Dir, "bridge.conf")
	text := fmt.Sprintf(bridgeConfig, port, j.Window, j.Dir, saving, j.Broker, topic)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b := &bridge{}
	if b.cmd, err = child("mosquitto", "-c", conf); err != nil {
		return nil, err
	}
	for range 200 {
		if b.conn, err = wire.Dial(j.Room, "feeder", true); err == nil {
			return b, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

// put waits for the acknowledgement of the local Mosquitto.
func (b *bridge) put(_ int, payload []byte) error {
	b.id = max(b.id+1, 1)
	b.buf = b.conn.Send(b.buf, topic, b.id, payload)
	if err := b.conn.Out.Flush(); err != nil {
		return err
	}
	_, _, err := b.conn.Read()
	return err
}

func (b *bridge) close() error {
	b.conn.Close()
	b.cmd.Process.Signal(syscall.SIGTERM)
	return b.cmd.Wait()
}
