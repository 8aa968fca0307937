package uplink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

func TestSingleEntitiesOfRemovedStreamsAreCleared(t *testing.T) {
	diagnostics := []string{"ha/sensor/store-12/agent--backlog/config", "ha/sensor/store-12/agent--faults/config",
		"ha/event/store-12/agent--gap/config", "ha/sensor/store-12/agent--oldest/config",
		"ha/event/store-12/agent--rule/config"}
	was := birthOf(house("ha", contact("door"), humidity("hum")))
	was.Split = true
	for _, c := range []struct {
		what string
		now  Options
		want []string
	}{
		{"nothing changed", house("ha", contact("door"), humidity("hum")), nil},
		{"a sensor went", house("ha", contact("door")), []string{"ha/sensor/store-12/hum/config",
			"store-12/hum/state"}},
		{"no longer announced", house("", contact("door"), humidity("hum")),
			append(slices.Clone(diagnostics), "ha/binary_sensor/store-12/door/config",
				"ha/binary_sensor/store-12/door--fault/config", // it may have been an output's
				"ha/sensor/store-12/hum/config")},
		{"announced elsewhere", house("b", contact("door"), humidity("hum")),
			append(slices.Clone(diagnostics), "ha/binary_sensor/store-12/door/config",
				"ha/binary_sensor/store-12/door--fault/config", // it may have been an output's
				"ha/sensor/store-12/hum/config")},
	} {
		if got := cleared(t, cleanup(was.json(), c.now)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.what, got, c.want)
		}
	}
	all := cleared(t, house("ha", contact("door"), humidity("hum")).forgetting(was.json(), true))
	for _, topic := range append(diagnostics, "ha/sensor/store-12/hum/config", "ha/device/store-12/config") {
		if !slices.Contains(all, topic) {
			t.Errorf("%s stays when the node is taken out of service: %q", topic, all)
		}
	}
}

// TestNextStartBeginsWithTheShortForms, and no session ends for what the
// start before found out.
func TestNextStartBeginsWithTheShortForms(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.retained["porch/agent/info"] = `{"boot":"1-11111111","discovery":"homeassistant","split":true,` +
				`"truncated":true,"streams":{}}`
			br.closesFor = func(m mqtt.Message) bool { return len(m.Payload) > 1000 }
		})
		time.Sleep(10 * time.Minute)
		if info := br.kept("porch/agent/info"); !strings.Contains(info, `"split":true`) || !strings.Contains(info,
			l.opt.Boot) {
			t.Errorf("birth: %s", info)
		}
		if br.kept("homeassistant/sensor/porch/sensor_number_19/config") == "" {
			t.Error("an entity is not announced")
		}
	}, atHome, manyStreams)
	if br.conns != 1 {
		t.Errorf("%d connections:\n%s", br.conns, log)
	}
}
