package main

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A recorder has a persistent session, like a program that stores readings.
type recorder struct {
	client mqtt.Client

	mu       sync.Mutex
	seen     map[string]map[uint64]bool // by topic
	again    int
	retained int // as the broker reports it
	queued   int // the maximum of other stored messages
	lost     int
}

func record(addr string) (*recorder, error) {
	r := &recorder{seen: map[string]map[uint64]bool{}}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("recorder").SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).
		SetMaxReconnectInterval(200 * time.Millisecond)
	o.SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe("+/+", 1, r.take)
		c.Subscribe("$SYS/broker/#", 0, r.system)
	})
	r.client = mqtt.NewClient(o)
	t := r.client.Connect()
	t.Wait()
	return r, t.Error()
}

func (r *recorder) take(_ mqtt.Client, m mqtt.Message) {
	var p struct{ Seq uint64 }
	json.Unmarshal(m.Payload(), &p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[m.Topic()] == nil {
		r.seen[m.Topic()] = map[uint64]bool{}
	}
	if r.seen[m.Topic()][p.Seq] {
		r.again++
	}
	r.seen[m.Topic()][p.Seq] = true
}

// system reads the statistics of the broker: the retained messages, all stored messages,
// and the dropped ones.
func (r *recorder) system(_ mqtt.Client, m mqtt.Message) {
	n, err := strconv.Atoi(string(m.Payload()))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m.Topic() {
	case "$SYS/broker/retained messages/count":
		r.retained = n
	case "$SYS/broker/store/messages/count":
		r.queued = max(r.queued, n-r.retained)
	case "$SYS/broker/publish/messages/dropped":
		r.lost = max(r.lost, n)
	}
}

// result returns how many readings were put, by the newest of each agent, how many arrived,
// how many arrived twice, and the maximum that the broker stored for subscribers.
func (r *recorder) result() (put, got, twice, queued int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seqs := range r.seen {
		newest := uint64(0)
		for seq := range seqs {
			newest = max(newest, seq)
		}
		put, got = put+int(newest), got+len(seqs)
	}
	return put, got, r.again, r.queued
}

func (r *recorder) dropped() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}
