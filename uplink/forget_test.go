package uplink

import (
	"slices"
	"testing"
)

func TestForgetClearsPresentAndEarlierTopics(t *testing.T) {
	was, now := house("ha", contact("door"), humidity("old")), house("homeassistant", contact("door"), humidity("hum"))
	want := []string{"homeassistant/device/store-12/config", "store-12/door/state", "store-12/hum/state",
		"ha/device/store-12/config", "store-12/old/state"}
	if got := cleared(t, now.forgetting(birthOf(was).json(), false)); !slices.Equal(got, want) {
		t.Errorf("beside an agent that runs:\ngot  %q\nwant %q", got, want)
	}
	whole := append(want, "store-12/agent/health", "store-12/agent/info", "store-12/agent/status")
	if got := cleared(t, now.forgetting(birthOf(was).json(), true)); !slices.Equal(got, whole) {
		t.Errorf("of a whole node:\ngot  %q\nwant %q", got, whole)
	}
}

// A node that was never announced may have been so before agent/info said it.
func TestForgetNeedsNoBirth(t *testing.T) {
	want := []string{"store-12/door/state", "homeassistant/device/store-12/config"}
	now := house("", contact("door"))
	now.HomeAssistant.Prefix = "homeassistant"
	if got := cleared(t, now.forgetting(nil, false)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
