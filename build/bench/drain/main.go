// Command drain measures how fast a backlog goes out on loopback, beside the
// MQTT library alone:
//
//	go run ./build/bench/drain            # 200,000 readings, three rounds
//	go run ./build/bench/drain -n 20000 -window 128
//
// It starts a Mosquitto of its own. Ours is the queue, the link and the library,
// up to the last acknowledgement in the queue; raw is the library with the same
// topics and payloads, made beforehand, and the same window; unbounded is raw
// without one.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink"
)

func main() {
	n := flag.Int("n", 200_000, "readings")
	window := flag.Int("window", uplink.DefaultWindow, "messages in flight")
	rounds := flag.Int("rounds", 3, "rounds of each")
	flag.Parse()
	if err := run(*n, *window, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

func run(n, window, rounds int) error {
	dir, err := os.MkdirTemp("", "holdfast-drain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addr, stop, err := mosquitto(dir)
	if err != nil {
		return err
	}
	defer stop()

	var ratios []float64
	for round := range rounds {
		ours, err := drain(addr, filepath.Join(dir, fmt.Sprint(round), "queue.db"), n, window)
		if err != nil {
			return err
		}
		raw, err := publish(addr, n, window)
		if err != nil {
			return err
		}
		free, err := publish(addr, n, 60_000)
		if err != nil {
			return err
		}
		rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
		fmt.Printf("ours %6.0f/s  raw %6.0f/s  unbounded %6.0f/s  ours to raw %.2f\n", rate(ours), rate(raw), rate(free), rate(ours)/rate(raw))
		ratios = append(ratios, rate(ours)/rate(raw))
	}
	slices.Sort(ratios)
	fmt.Printf("median %.2f, want 0.9 (window %d, %d readings)\n", ratios[len(ratios)/2], window, n)
	return nil
}

// mosquitto starts a broker on loopback.
func mosquitto(dir string) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nlog_dest none\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("mosquitto", "-c", conf)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if cmd.Err != nil { // Debian puts it where only root looks
		cmd = exec.Command("/usr/sbin/mosquitto", "-c", conf)
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return addr, func() { cmd.Process.Kill(); cmd.Wait() }, nil
}

func reading(clock *sensors.Timekeeper, seq int) sensors.Reading {
	return sensors.Reading{Stream: "room", Seq: uint64(seq), Value: float64(seq%10000) / 100, Unit: "%", At: clock.Now()}
}

// drain is how long the agent takes.
func drain(addr, path string, n, window int) (time.Duration, error) {
	clock := sensors.NewTimekeeper(sensors.TrustAlways)
	log := slog.New(slog.DiscardHandler)
	q, err := queue.Open(queue.Options{Path: path, MaxSize: 256 << 20, SyncEvery: 5 * time.Second, Clock: clock}, log)
	if err != nil {
		return 0, err
	}
	defer q.Close()
	ctx, stop := context.WithCancel(context.Background())
	written := make(chan struct{})
	go func() { q.Run(ctx); close(written) }()
	defer func() { stop(); <-written }()
	for seq := range n {
		q.Put(reading(clock, seq+1))
		if seq%8192 == 8191 { // let it spill
			for q.Stats().Memory > 8192 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	server, err := url.Parse("mqtt://" + addr)
	if err != nil {
		return 0, err
	}
	opt := uplink.Options{ClientID: "bench", Servers: []*url.URL{server}, KeepAlive: 15 * time.Second, Topics: uplink.DefaultTopics,
		Drain: uplink.Drain{Window: window}, Clock: clock, Boot: q.Boot(), Streams: []sensors.Stream{{Name: "room"}}}
	link := uplink.New(opt, q, uplink.DialMQTT(opt), log)
	began, ended := time.Now(), make(chan struct{})
	linked, unlink := context.WithCancel(ctx)
	go func() { link.Run(linked); close(ended) }()
	for q.Stats().Backlog > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	unlink()
	<-ended
	return took, nil
}

// publish is how long the library takes.
func publish(addr string, n, window int) (time.Duration, error) {
	clock := sensors.NewTimekeeper(sensors.TrustAlways)
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = uplink.AppendPayload(nil, queue.Item{Reading: reading(clock, i+1), Boot: "1-00000000"}, false)
	}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("raw").SetAutoReconnect(false)
	client := mqtt.NewClient(o)
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return 0, t.Error()
	}
	defer client.Disconnect(100)
	began := time.Now()
	flight := make(chan mqtt.Token, window)
	failed := make(chan error, 1)
	go func() {
		for t := range flight {
			if t.Wait(); t.Error() != nil {
				failed <- t.Error()
			}
		}
		close(failed)
	}()
	for _, p := range payloads {
		flight <- client.Publish("raw/room", 1, false, p)
	}
	close(flight)
	err := <-failed
	return time.Since(began), err
}
