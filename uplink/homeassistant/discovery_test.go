package homeassistant

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// The keys that Home Assistant knows, from its source: the device and origin
// mappings, the root and what all entities share from
// homeassistant/components/mqtt/schemas.py (2026.9), the platforms' own from
// sensor.py, binary_sensor.py and event.py beside it.
var (
	haRoot = words("device origin components availability availability_mode availability_template " +
		"availability_topic payload_available payload_not_available state_topic command_topic " +
		"message_expiry_interval qos encoding")
	haDevice = words("identifiers connections manufacturer model model_id name hw_version serial_number sw_version " +
		"via_device suggested_area configuration_url")
	haOrigin = words("name sw_version support_url")
	haListed = words("topic payload_available payload_not_available value_template")
	haEntity = words("platform availability availability_mode availability_template availability_topic " +
		"payload_available payload_not_available enabled_by_default entity_category entity_picture icon " +
		"json_attributes_topic json_attributes_template default_entity_id message_expiry_interval unique_id " +
		"visible_by_default state_topic value_template qos encoding")

	haPlatform = map[string][]string{
		"sensor": words("device_class expire_after force_update last_reset_value_template name options " +
			"suggested_display_precision state_class unit_of_measurement"),
		"binary_sensor": words("device_class expire_after force_update name off_delay payload_off payload_on"),
		"event":         words("device_class event_types name"),
		"siren": words("available_tones command_off_template command_template command_topic name optimistic " +
			"payload_off payload_on retain state_off state_on state_value_template support_duration support_volume_set"),
		"switch": words("command_template command_topic device_class name optimistic payload_off payload_on retain " +
			"state_off state_on"),
		"valve": words("command_template command_topic device_class name optimistic payload_close payload_open " +
			"payload_stop position_closed position_open reports_position retain state_closed state_closing state_open " +
			"state_opening"),
		"button": words("command_template command_topic device_class name payload_press retain"),
		"alarm_control_panel": words("code code_arm_required code_disarm_required code_trigger_required " +
			"command_template command_topic name payload_arm_away payload_arm_custom_bypass payload_arm_home " +
			"payload_arm_night payload_arm_vacation payload_disarm payload_trigger retain supported_features"),
	}

	// The classes and features of the platforms that take orders, from switch/__init__.py,
	// valve/__init__.py, and ALARM_CONTROL_PANEL_SUPPORTED_FEATURES in mqtt/const.py.
	haClasses  = map[string][]string{"switch": words("outlet switch"), "valve": words("water gas")}
	haFeatures = words("arm_home arm_away arm_night arm_vacation arm_custom_bypass trigger")
)

func words(text string) []string { return strings.Fields(text) }

type object = map[string]any

// entityIDForm is homeassistant/core.py's VALID_ENTITY_ID.
var entityIDForm = regexp.MustCompile(`^[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*$`)

// validate says everything that Home Assistant would refuse.
func validate(t *testing.T, payload []byte) (components map[string]object) {
	t.Helper()
	var root object
	if err := json.Unmarshal(payload, &root); err != nil {
		t.Fatal(err)
	}
	knownKeys(t, "the root", root, haRoot)
	knownKeys(t, "device", root["device"].(object), haDevice)
	knownKeys(t, "origin", root["origin"].(object), haOrigin)
	if root["origin"].(object)["name"] == "" || len(root["device"].(object)["identifiers"].([]any)) == 0 {
		t.Errorf("no name of the origin or no identifier of the device: %s", payload)
	}
	components = map[string]object{}
	ids := map[any]string{}
	for name, c := range root["components"].(object) {
		c := c.(object)
		components[name] = c
		validateEntity(t, name, c)
		if other := ids[c["unique_id"]]; other != "" {
			t.Errorf("%s and %s have the unique_id %v", other, name, c["unique_id"])
		}
		ids[c["unique_id"]] = name
	}
	return components
}

func knownKeys(t *testing.T, where string, o object, known ...[]string) {
	t.Helper()
	for key := range o {
		if !slices.Contains(slices.Concat(known...), key) {
			t.Errorf("%s has a key %q that Home Assistant does not know there", where, key)
		}
	}
}

func validateEntity(t *testing.T, name string, c object) {
	t.Helper()
	text := func(key string) string { s, _ := c[key].(string); return s }
	own, ok := haPlatform[text("platform")]
	if !ok {
		t.Errorf("%s: platform %q", name, text("platform"))
	}
	knownKeys(t, name, c, haEntity, own)
	noState := text("platform") == "button"
	if c["qos"] != 1.0 {
		t.Errorf("%s: qos %v", name, c["qos"])
	}
	if text("unique_id") == "" || (text("state_topic") == "") != noState || text("name") == "" {
		t.Errorf("%s lacks a name, a unique_id or a state_topic: %v", name, c)
	}
	if id := text("default_entity_id"); !entityIDForm.MatchString(id) || !strings.HasPrefix(id, text("platform")+".") {
		t.Errorf("%s: default_entity_id %q", name, id)
	}
	if list, ok := c["availability"].([]any); ok {
		for _, a := range list {
			knownKeys(t, name+".availability", a.(object), haListed)
		}
	}
	switch p := text("platform"); p {
	case "sensor":
		validateSensor(t, name, c, text)
	case "siren", "switch", "valve", "button", "alarm_control_panel":
		validateOrders(t, name, c, text)
	default:
		if class := text("device_class"); class != "" && !slices.Contains(haBinaryClasses, class) {
			t.Errorf("%s: class %q", name, class)
		}
	}
}

// validateOrders is what Home Assistant requires of an entity that takes orders.
func validateOrders(t *testing.T, name string, c object, text func(string) string) {
	t.Helper()
	if topic := text("command_topic"); topic == "" || strings.ContainsAny(topic, "+#") {
		t.Errorf("%s: command_topic %q", name, topic)
	}
	if class := text("device_class"); class != "" && !slices.Contains(haClasses[text("platform")], class) {
		t.Errorf("%s: a %s of class %q", name, text("platform"), class)
	}
	if list, ok := c["supported_features"].([]any); ok {
		for _, feature := range list {
			if !slices.Contains(haFeatures, feature.(string)) {
				t.Errorf("%s: feature %v", name, feature)
			}
		}
	}
	if n, ok := c["message_expiry_interval"].(float64); !ok || n < 1 {
		t.Errorf("%s: message_expiry_interval %v", name, c["message_expiry_interval"])
	}
}

// validateSensor is validate_sensor_state_and_device_class_config of Home
// Assistant's sensor.py and the checks of its sensor entity.
func validateSensor(t *testing.T, name string, c object, text func(string) string) {
	t.Helper()
	class, state, unit := text("device_class"), text("state_class"), text("unit_of_measurement")
	if class == "enum" {
		if state != "" || unit != "" || len(c["options"].([]any)) == 0 {
			t.Errorf("%s: enum with state class %q, unit %q, options %v", name, state, unit, c["options"])
		}
		return
	}
	if c["options"] != nil {
		t.Errorf("%s: options without enum", name)
	}
	known, ok := haSensorClasses(t)[class]
	if class != "" && !ok {
		t.Errorf("%s: class %q", name, class)
	}
	if class != "" && known.units != nil && !slices.Contains(known.units, oneMicro(unit)) {
		t.Errorf("%s: class %q with unit %q", name, class, unit)
	}
	if class != "" && state != "" && !slices.Contains(known.states, state) {
		t.Errorf("%s: class %q with state class %q", name, class, state)
	}
	if state == "measurement_angle" && unit != "°" {
		t.Errorf("%s: an angle in %q", name, unit)
	}
}

func TestDiscoveryIsValidForHomeAssistant(t *testing.T) {
	q := func(name, unit, class string, states ...string) sensors.Stream {
		return sensors.Stream{Name: name, Quantity: sensors.Quantity{Unit: unit, Class: class, States: states}}
	}
	o := house("homeassistant", q("front-door", "", "door", "closed", "open"), q("room_humidity", "%", "humidity"),
		q("load", "", ""),
		q("freezer_alarm", "", "problem", "ok", "alarm"), q("mode", "", "", "off", "heat", "cool"),
		q("one", "", "enum", "only"), q("fan", "rpm", ""),
		q("wrong_unit", "%", "temperature"), q("no_unit", "", "temperature"), q("wrong_class", "%", "door"),
		q("wrong_states", "", "temperature", "a", "b"),
		q("no_class", "", "door", "a", "b", "c"), q("date", "", "timestamp"), q("energy", "kWh", "energy"),
		q("vane", "°", "wind_direction"),
		q("dust", "\u03bcg/m³", "pm25"), q("acid", "", "ph"), q("cos", "%", "power_factor"),
		q("till", "EUR", "monetary"), q("__A--b_", "", ""))
	for _, s := range []sensors.Stream{q("meter", "kWh", "energy"), q("drops", "", ""), q("odd", "hPa", "pressure")} {
		s.Total = true
		o.Streams = append(o.Streams, s)
	}
	for class, c := range haSensorClasses(t) {
		for i, unit := range append([]string{"bogus"}, c.units...) {
			o.Streams = append(o.Streams, q(fmt.Sprint("all_", class, i), unit, class))
		}
	}
	for _, class := range haBinaryClasses {
		o.Streams = append(o.Streams, q("two_"+class, "", class, "a", "b"))
	}
	m := o.Discovery()
	if m.Topic != "homeassistant/device/store-12/config" {
		t.Errorf("topic %s", m.Topic)
	}
	c := validate(t, m.Payload)
	if len(c) != len(o.Streams)+4 {
		t.Errorf("%d entities of %d streams", len(c), len(o.Streams))
	}
	for _, want := range []struct{ name, key, value string }{
		{"front-door", "platform", "binary_sensor"}, {"front-door", "device_class", "door"},
		{"front-door", "default_entity_id", "binary_sensor.store_12_front_door"},
		{"front-door", "name", "Front door"}, {"front-door", "payload_on", "1"}, {"front-door", "payload_off", "0"},
		{"front-door", "unique_id", "store-12/front-door"},
		{"front-door", "state_topic", "store-12/front-door/state"}, {"front-door", "state_class", "<nil>"},
		{"front-door", "options", "<nil>"},
		{"room_humidity", "default_entity_id", "sensor.store_12_room_humidity"},
		{"room_humidity", "unit_of_measurement", "%"},
		{"room_humidity", "state_class", "measurement"}, {"room_humidity", "device_class", "humidity"},
		{"load", "state_class", "measurement"}, {"load", "unit_of_measurement", "<nil>"},
		{"fan", "unit_of_measurement", "rpm"},
		{"freezer_alarm", "platform", "binary_sensor"}, {"freezer_alarm", "device_class", "problem"},
		{"mode", "device_class", "enum"}, {"mode", "options", "[off heat cool]"}, {"one", "device_class", "enum"},
		{"wrong_unit", "device_class", "<nil>"}, {"wrong_unit", "unit_of_measurement", "%"},
		{"wrong_unit", "state_class", "measurement"},
		{"no_unit", "device_class", "<nil>"}, {"wrong_class", "device_class", "<nil>"},
		{"wrong_states", "device_class", "<nil>"},
		{"no_class", "device_class", "enum"}, {"date", "device_class", "<nil>"}, {"energy", "device_class", "energy"},
		{"energy", "state_class", "<nil>"},
		{"vane", "state_class", "measurement_angle"}, {"dust", "device_class", "pm25"}, {"acid", "device_class", "ph"},
		{"cos", "device_class", "power_factor"},
		{"till", "state_class", "<nil>"}, {"__A--b_", "default_entity_id", "sensor.store_12_a_b"},
		{"all_pressure0", "device_class", "<nil>"},
		{"all_pressure1", "device_class", "pressure"}, {"agent.gap", "entity_category", "diagnostic"},
		{"meter", "state_class", "total_increasing"}, {"drops", "state_class", "total_increasing"},
		{"odd", "state_class", "<nil>"},
		{"agent.backlog", "state_topic", "store-12/agent/health"}, {"agent.oldest", "device_class", "duration"},
		{"agent.faults", "expire_after", "180"},
		{"agent.gap", "platform", "event"}, {"agent.gap", "state_topic", "store-12/agent/event"},
	} {
		if got := fmt.Sprint(c[want.name][want.key]); got != want.value {
			t.Errorf("%s: %s is %s, want %s", want.name, want.key, got, want.value)
		}
	}
}

func TestDiscoveryDescribesTheBoard(t *testing.T) {
	for hardware, want := range map[string]string{
		"Raspberry Pi 4 Model B Rev 1.4": `{"identifiers":["store-12"],"name":"store-12","manufacturer":"Raspberry ` +
			`Pi","model":"Raspberry Pi 4 Model B Rev 1.4","serial_number":"100000003d1d1c36","sw_version":"1.0"}`,
		"VirtualBox": `{"identifiers":["store-12"],"name":"store-12","model":"VirtualBox",` +
			`"sw_version":"1.0"}`,
		"": `{"identifiers":["store-12"],"name":"store-12","sw_version":"1.0"}`,
	} {
		o := house("homeassistant")
		if o.Hardware = hardware; strings.HasPrefix(hardware, "Raspberry") {
			o.Serial = "100000003d1d1c36"
		}
		var a struct{ Device json.RawMessage }
		if err := json.Unmarshal(o.Discovery().Payload, &a); err != nil || string(a.Device) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", hardware, a.Device, want)
		}
	}
}

// An entity reads the state alone, wherever the topics were moved.
func TestEntitiesReadNoHistory(t *testing.T) {
	o := house("homeassistant", contact("door"), humidity("hum"))
	o.Topics = payload.NewTopics(o.ClientID, payload.Patterns{Reading: "{client_id}/{stream}/history",
		State: "{client_id}/{stream}"}, []string{"door", "hum"})
	c := validate(t, o.Discovery().Payload)
	for _, name := range []string{"door", "hum"} {
		if got := c[name]["state_topic"]; got != "store-12/"+name {
			t.Errorf("%s reads %v", name, got)
		}
	}
	if text := string(o.Discovery().Payload); strings.Contains(text, "history") {
		t.Errorf("a topic of readings is in %s", text)
	}
}

func TestOnlyAPeriodicStateExpires(t *testing.T) {
	for every, want := range map[time.Duration]any{0: nil, time.Millisecond: 60.0, time.Second: 60.0,
		20 * time.Second: 60.0, 20500 * time.Millisecond: 62.0, 30 * time.Second: 90.0, time.Hour: 10800.0} {
		s := humidity("hum")
		s.Every = every
		if got := validate(t, house("ha", s).Discovery().Payload)["hum"]["expire_after"]; got != want {
			t.Errorf("every %v: expires after %v, want %v", every, got, want)
		}
	}
}

func TestAnAlarmOfAThresholdDoesNotExpire(t *testing.T) {
	s := contact("freezer_alarm")
	s.Every, s.States, s.Class = 30*time.Second, []string{"ok", "alarm"}, "problem"
	if got := validate(t, house("ha", s).Discovery().Payload)["freezer_alarm"]["expire_after"]; got != nil {
		t.Errorf("expires after %v, though only its transitions are readings", got)
	}
}

func TestASensorThatCannotBeReadIsUnavailable(t *testing.T) {
	c := validate(t, house("ha", contact("door")).Discovery().Payload)
	want := []any{object{"topic": "store-12/agent/status"}, object{"topic": "store-12/door/state",
		"value_template": availableTemplate}}
	if got := c["door"]["availability"]; fmt.Sprint(got) != fmt.Sprint(want) ||
		c["door"]["availability_mode"] != "all" {
		t.Errorf("got %v, %v", got, c["door"]["availability_mode"])
	}
}

// 256 streams with the longest names are far below what a broker accepts.
func TestTheAnnouncementOfALargeSiteFits(t *testing.T) {
	o := house("homeassistant")
	o.ClientID = strings.Repeat("c", 64)
	for i := range 256 {
		o.Streams = append(o.Streams, contact(fmt.Sprintf("%064d", i)))
	}
	if n := len(o.Discovery().Payload); n > MaxDiscovery/2 {
		t.Errorf("%d bytes", n)
	}
}

func TestUniqueIDsDiffer(t *testing.T) {
	seen := map[any]bool{}
	for _, id := range []string{"a", "a_b", "a-b"} {
		o := house("ha", contact("b_c"), contact("c"), contact("agent_gap"), contact("b-c"))
		o.ClientID = id
		for name, c := range validate(t, o.Discovery().Payload) {
			if seen[c["unique_id"]] {
				t.Errorf("%s of %s: %v again", name, id, c["unique_id"])
			}
			seen[c["unique_id"]] = true
		}
	}
}

func TestClassProblemNamesWhatHomeAssistantRefuses(t *testing.T) {
	q := func(unit, class string, states ...string) sensors.Stream {
		return sensors.Stream{Quantity: sensors.Quantity{Unit: unit, Class: class, States: states}}
	}
	for _, c := range []struct {
		stream sensors.Stream
		want   string
	}{
		{q("%", ""), ""}, {q("%", "humidity"), ""}, {q("", "door", "a", "b"), ""}, {q("", "", "a", "b", "c"), ""},
		{q("", "enum", "a", "b", "c"), ""},
		{q("%", "temperature"), `Home Assistant takes the class "temperature" in °C, °F, K, not in "%"`},
		{q("", "temperature"), `in °C, °F, K, not in ""`},
		{q("%", "ph"), `takes the class "ph" without a unit, not with "%"`},
		{q("%", "door"), `no class "door" for a number`}, {q("", "temperature", "a", "b"),
			`no class "temperature" for two states`},
		{q("", "door", "a", "b", "c"), `no class for 3 states: leave "door" out`},
	} {
		if got := ClassProblem(c.stream); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q, want %q", c.stream, got, c.want)
		}
	}
}

// house is a device with streams, announced under a prefix.
func house(prefix string, streams ...sensors.Stream) Device {
	return Device{ClientID: "store-12", Prefix: prefix, Version: "1.0", Topics: payload.NewTopics("store-12",
		payload.DefaultPatterns, nil),
		Streams: streams, Heartbeat: time.Minute}
}

func contact(name string) sensors.Stream {
	return sensors.Stream{Name: name, Quantity: sensors.Quantity{States: []string{"closed", "open"}}}
}

func humidity(name string) sensors.Stream {
	return sensors.Stream{Name: name, Quantity: sensors.Quantity{Unit: "%", Class: "humidity"}}
}
