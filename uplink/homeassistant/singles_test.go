package homeassistant

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestEntitiesAreCompleteBelow1000Bytes: each says what the announcement of the
// whole device says of its entity.
func TestEntitiesAreCompleteBelow1000Bytes(t *testing.T) {
	o := house("homeassistant", contact("front_door"), humidity("living_room_humidity"))
	whole := o.announcement()
	msgs := o.Entities()
	if len(msgs) != len(whole.Components) {
		t.Errorf("%d messages of %d entities", len(msgs), len(whole.Components))
	}
	for _, m := range msgs {
		if n := len(m.Topic) + len(m.Payload); n > 980 {
			t.Errorf("%s: %d bytes", m.Topic, n)
		}
		var got struct {
			component
			Device device
		}
		if err := json.Unmarshal(m.Payload, &got); err != nil {
			t.Fatal(err)
		}
		level := strings.Split(m.Topic, "/")
		want := whole.Components[strings.ReplaceAll(level[3], "--", ".")]
		if got.Platform != "" || level[1] != string(want.Platform) || level[2] != o.ClientID {
			t.Errorf("topic %s of platform %q", m.Topic, want.Platform)
		}
		if got.UniqueID != want.UniqueID || got.StateTopic != want.StateTopic ||
			got.ValueTemplate != want.ValueTemplate {
			t.Errorf("got %+v, want %+v", got.component, want)
		}
		if len(got.Availability) == 0 || !slices.Equal(got.Device.Identifiers, whole.Device.Identifiers) {
			t.Errorf("%s", m.Payload)
		}
	}
}
