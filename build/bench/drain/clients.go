package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	paho5 "github.com/eclipse/paho.golang/paho"
	paho "github.com/eclipse/paho.mqtt.golang"
)

// publish is the time that the library of MQTT 3.1.1 needs.
func publish(addr string, payloads [][]byte, window int) (time.Duration, error) {
	o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("raw").SetAutoReconnect(false)
	client := paho.NewClient(o)
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return 0, t.Error()
	}
	defer client.Disconnect(100)
	began := time.Now()
	flight := make(chan paho.Token, window)
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

// publish5 is the time that the library of MQTT 5 needs. Its Publish returns after PUBACK,
// so it is called by as many goroutines as messages are in flight; the order is not kept.
func publish5(addr string, payloads [][]byte, window int) (time.Duration, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	client := paho5.NewClient(paho5.ClientConfig{Conn: conn})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if _, err := client.Connect(ctx, &paho5.Connect{ClientID: "raw5", KeepAlive: 60, CleanStart: true}); err != nil {
		return 0, err
	}
	defer client.Disconnect(&paho5.Disconnect{})
	began := time.Now()
	next := make(chan []byte)
	failed := make(chan error, window)
	var all sync.WaitGroup
	for range window {
		all.Go(func() {
			for payload := range next {
				if _, err := client.Publish(ctx, &paho5.Publish{QoS: 1, Topic: "raw/room", Payload: payload}); err != nil {
					failed <- fmt.Errorf("publish: %w", err)
					for range next { // so that the other goroutines end too
					}
					return
				}
			}
		})
	}
	for _, p := range payloads {
		next <- p
	}
	close(next)
	all.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		return took, err
	default:
		return took, nil
	}
}
