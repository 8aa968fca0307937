package main

import "encoding/json"

// telemetryTopic is that of ThingsBoard, for which the broker itself stands here.
const telemetryTopic = "v1/gateway/telemetry"

// A measurement is one value of one series in ThingsBoard.
type measurement struct {
	device, series string
	ts             int64
}

// telemetry is what arrived for ThingsBoard, in the format of its gateway API.
func (r *readers) telemetry() map[measurement]bool {
	got := map[measurement]bool{}
	for _, a := range r.rec.Arrivals() {
		var devices map[string][]struct {
			TS     int64
			Values map[string]any
		}
		if a.Topic != telemetryTopic || json.Unmarshal([]byte(a.Payload), &devices) != nil {
			continue
		}
		for device, entries := range devices {
			for _, e := range entries {
				for series := range e.Values {
					got[measurement{device, series, e.TS}] = true
				}
			}
		}
	}
	return got
}

// handedOver: each reading was sent to ThingsBoard, with its time of measurement.
func (r *readers) handedOver() {
	got, want, missing := r.telemetry(), 0, 0
	for _, stream := range streams {
		for _, x := range r.ledger.on("house/" + stream) {
			if want++; !got[measurement{"house", stream, x.TS}] {
				missing++
			}
		}
	}
	r.report.check(missing == 0 && want > 0, "consumers: ThingsBoard's gateway API gets every reading, at the time of "+
		"its measurement: %d of %d missing", missing, want)
}
