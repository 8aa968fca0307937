package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// aliased are the agents whose topics are measured with and without an alias.
var aliased = []names{{"porch", "humidity"}, {"store-12", "freezer_temperature"},
	{"site/berlin-3/store-12", "freezer_temperature"}}

const aliasHead = `
### Topic aliases on a slow link

The same with MQTT 5 at 20 kbit/s and 600 ms there and back, where each message is sent by itself: bytes for a
reading on the way to the broker, and with the headers of TCP and IP (%d bytes a packet). Without an alias:
max_topic_alias 0 in Mosquitto, which allows 10 unless that is set.

| topic | without an alias | with one | ratio | on the link, without | with | ratio |
|---|---:|---:|---:|---:|---:|---:|
`

// aliases measures what a topic alias saves, and returns a part of the page.
func aliases(dir string, window int) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, aliasHead, link.Header)
	for i, who := range aliased {
		var bytes, onLink [2]float64
		for j, config := range []string{"max_topic_alias 0\n", ""} {
			var err error
			home := filepath.Join(dir, fmt.Sprint("alias", i, j))
			if bytes[j], onLink[j], err = eachReading(dir, home, config, who, window); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&b, "| %s/%s | %.1f | %.1f | %.2f | %.1f | %.1f | %.2f |\n", who.client, who.stream, bytes[0], bytes[1],
			bytes[1]/bytes[0], onLink[0], onLink[1], onLink[1]/onLink[0])
	}
	fmt.Print(b.String())
	return b.String(), nil
}

// eachReading returns the bytes of a reading on a slow link, without and with the headers
// of packets. It measures two numbers of readings and divides the difference, because a
// session has its own cost.
func eachReading(dir, home, config string, who names, window int) (bytes, onLink float64, err error) {
	const few, many = 20, 200
	b, err := mosquitto.Start(dir, config+wide+"set_tcp_nodelay true\n")
	if err != nil {
		return 0, 0, err
	}
	defer b.Stop()
	var took [2]*traffic
	for i, n := range []int{few, many} {
		if took[i], err = carry(filepath.Join(home, fmt.Sprint(n)), b.Addr, "mqtt", who, mqtt.V5, mqtt.TLS{}, slow, n,
			window); err != nil {
			return 0, 0, err
		}
	}
	each := func(of func(*traffic) int) float64 { return float64(of(took[1])-of(took[0])) / (many - few) }
	bytes, onLink = each(func(t *traffic) int { return t.up }), each(func(t *traffic) int {
		return t.up + t.packsUp*link.Header
	})
	return bytes, onLink, nil
}
