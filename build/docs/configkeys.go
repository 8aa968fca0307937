package main

// configSections are the tables of docs/configuration.md, in its order.
var configSections = []configSection{
	{path: "", title: "The node", keys: []configKey{
		{"client_id", "the MQTT client ID, the first level of every topic and the name of the node; " +
			"no two nodes may share one", "name", "`pi-` and the end of the board's serial number"},
		{"name", "what people call the node, in any script (`厨房`), at most 64 characters: shown on the status page, " +
			"by `status` and `doctor`, and in Home Assistant; topics and identifiers use `client_id`", "", "`client_id`"},
		{"area", "the room or place, shown with the name; in Home Assistant the area of the device", "", ""},
	}},
	{path: "mqtt", title: "mqtt", intro: "Either `server` or `servers` is needed.", keys: []configKey{
		{"server",
			"`mqtt://`, `mqtts://`, `ws://` or `wss://`, host and port; or `embedded`, a broker inside the agent. A host " +
				"that ends in `.local` is looked up by multicast DNS. [Clouds](clouds.md) has complete files", "", ""},
		{"servers", "several, in order: the next is tried when one does not answer", "", ""},
		{"username", "", "", "the client ID"},
		{"password_file", "its first line is the password. Without this key: the systemd credential `mqtt.password`, " +
			"else `$HOLDFAST_MQTT_PASSWORD`, else `/etc/holdfast/mqtt.password`", "file", ""},
		{"allow_plaintext", "`true` lets a password travel over `mqtt://` or `ws://` to a public address", "", ""},
		{"keepalive", "5s to 10m; a dead link is found within 30 s, or within a longer keepalive plus 15 s", "", ""},
		{"bind", "send only through this interface (`wwan0`) or from this local address", "", ""},
		{"prove_publish", "prove that what is published arrives; `false` for an account that may write and not read",
			"", ""},
		{"retain", "`false` for a broker without retained messages: see [brokers](brokers.md)", "", ""},
		{"version", "of MQTT: `3.1.1`, `5`, or `auto`: 5, and 3.1.1 where the broker refuses that", "", "`auto`"},
		{"will_delay", "0s to 5m: how long after a lost connection the broker publishes `offline`, with MQTT 5",
			"", ""},
		{"properties", "readings have `boot`, `seq` and `historical` as user properties beside the payload, with MQTT 5",
			"", ""},
	}},
	{path: "mqtt.health", title: "mqtt.health", keys: []configKey{
		{"every", "10s to 1h: the time between two messages on `agent/health`, 300 bytes each. A problem is sent " +
			"at once. The heartbeat cannot be switched off, because a missing one shows that a node hangs", "", ""},
	}},
	{path: "mqtt.reconnect", title: "mqtt.reconnect",
		intro: "For fleets: see [brokers](brokers.md#a-fleet-that-comes-back).",
		keys: []configKey{
			{"within",
				"1s to 50s: nine of ten agents try again within this time after the broker closed or refused the " +
					"connection, each at a different moment; after two minutes less and less often. When the " +
					"node's own link was down, it tries each second", "", ""},
		}},
	{path: "mqtt.tls", title: "mqtt.tls", intro: "For `mqtts://` and `wss://`. The server's certificate and " +
		"name are always verified.", keys: []configKey{
		{"ca", "CA certificates, in PEM, instead of the system's", "file", "the system's"},
		{"cert", "the client certificate, in PEM; needs `key`", "file", ""},
		{"key", "its private key, in PEM", "file", ""},
		{"server_name", "the name in the server's certificate, if it is not the host", "", "the host"},
		{"alpn", "the ALPN protocol, if the broker needs one: `x-amzn-mqtt-ca`", "", ""},
	}},
	{path: "mqtt.embedded", title: "mqtt.embedded", intro: "For `server: embedded`.", keys: []configKey{
		{"listen", "host and port; off loopback it needs a password", "", ""},
		{"password_file", "the password of all clients", "file", ""},
	}},
	{path: "queue", title: "queue", intro: "Readings that wait for the broker, on disk.", keys: []configKey{
		{"path", "the file; only the agent uses its folder", "file", ""},
		{"max_size", "1MiB to 1024GiB (256MiB on 32-bit ARM). When the queue is full, the oldest routine readings " +
			"are thinned out, then dropped; alarms are dropped last", "size", "`64MiB`"},
		{"max_age", "1h to 3650d; older readings are dropped", "", "no bound"},
		{"sync_every", "100ms to 10m: a power cut loses at most the routine readings of this time, and no alarms", "",
			""},
	}},
	{path: "drain", title: "drain",
		intro: "How fast a backlog is sent. Alarms, states and readings without a backlog " +
			"are not paced.", keys: []configKey{
			{"rate",
				"`auto`: 500 readings at once, then 250 a second ([brokers](brokers.md)); or 1 to 1000000 readings a " +
					"second; `0`: no limit", "", "`auto`"},
			{"window",
				"1 to 1024 messages in flight. The default 20 grows to at most 128 if the broker answers quickly and " +
					"`rate` needs more; any other number is fixed", "", ""},
		}},
	{path: "topics", title: "topics", intro: "Both patterns need `{client_id}` and `{stream}`.", keys: []configKey{
		{"reading", "every reading", "", ""},
		{"state", "the latest reading of each stream, retained", "", ""},
	}},
	{path: "", title: "payload", intro: "The format of readings and states: see " +
		"[topics](topics.md#plain-payloads). A sensor can have both keys, too, for its streams.", keys: []configKey{
		{"payload", "`json`, or `plain`: only the value or the name of the state, without its time", "", "`json`"},
	}},
	{path: "plain", title: "plain", keys: []configKey{
		{"history", "`true`: readings that are more than ten seconds late are sent, too, although nothing " +
			"marks them", "", ""},
	}},
	{path: "home_assistant", title: "home_assistant", keys: []configKey{
		{"discovery", "announce the device and its streams to Home Assistant", "", ""},
		{"prefix", "Home Assistant's own discovery prefix", "", ""},
	}},
	{path: "commands", title: "commands", intro: "Orders by MQTT: see [commands](commands.md). An output takes " +
		"orders only with its own key `commands: true`.", keys: []configKey{
		{"max_age", "1s to 10m: an older order is refused, and a signed order may be valid for at most this time",
			"", ""},
		{"key_file", "its first line is a key, and each order needs a `mac` made with it: for brokers to which others " +
			"may write", "file", "orders need no `mac`"},
	}},
	{path: "status", title: "status",
		intro: "A page with the state of the node, `/metrics` for Prometheus and " +
			"`/healthz`: see [status](status.md). It is off unless `listen` is set.", keys: []configKey{
			{"listen",
				"`127.0.0.1:8080`, or `unix:/run/holdfast/status.sock`; an address that other machines reach needs " +
					"`token_file` and `tls`", "", "off"},
			{"token_file", "its first line is the token, at least 16 characters; a browser asks for it as a password",
				"file", ""},
		}},
	{path: "status.tls", title: "status.tls", keys: []configKey{
		{"cert", "the page's certificate, in PEM", "file", ""},
		{"key", "its private key, in PEM", "file", ""},
	}},
	{path: "clock", title: "clock", keys: []configKey{
		{"trust", "whether the agent trusts the system's time: `auto` asks the kernel, systemd-timesyncd, chrony and the " +
			"real-time clock; `always` and `never` are for containers and sites with their own clock", "", "`auto`"},
	}},
	{path: "sensors.NAME", title: "sensors",
		intro: "A sensor has a name and keys. These keys are for all kinds; " +
			"[sensors](sensors.md) has the other keys of each kind.\n\n```yaml\nsensors:\n" +
			"  door: {kind: contact, gpio: GPIO17, normally: closed, class: door, alarm: true}\n" +
			"  room: {kind: bme280, i2c: \"1\", address: 0x76, every: 30s, streams: {humidity: hum}}\n" +
			"  freezer:\n    kind: w1\n    id: 28-0316a2797bff\n" +
			"    offset: -0.4                                  # the sensor reads 0.4 °C too much\n" +
			"    average: 5                                    # a reading is the mean of 5 samples\n" +
			"    valid: {min: -60, max: 60, jump: 5}           # an implausible value is a failed read\n" +
			"    report: {change: 0.3, at_least: 10m}          # only changes, and a reading each 10 min\n" +
			"    alarm: {above: -15, clear: -17, for: 5m}      # makes the stream freezer_alarm: ok, alarm\n```",
		keys: []configKey{
			{"kind", "one of the [kinds](sensors.md#kinds); needed", "", ""},
			{"every",
				"the time between two measurements, `1ms` to `7d`; kinds that report events do not have " +
					"this key",
				"", "the kind's"},
			{"name", "what people call it, in any script (`Küche`), at most 64 characters; with several quantities, the " +
				"quantity is added. Kinds with a `name` of the part (dht, hwmon, iio) have it under `streams`", "", ""},
			{"area", "the room or place, shown with the name", "", ""},
			{"streams",
				"other identifiers for streams: `{humidity: hum}`. By default, the stream of a sensor with one quantity " +
					"has the name of the sensor (`door`); with several quantities it is `<sensor>_<quantity>` " +
					"(`room_humidity`). It can also have names for people: see below", "", ""},
			{"class", "Home Assistant's device class, for a sensor of one quantity", "", "the quantity's"},
			{"alarm", "`true`: all its readings are sent before others and written to disk at once. For thresholds: see " +
				"below", "", ""},
			{"report", "only readings that differ enough or are old enough: see below", "", "each"},
			{"scale", "value = measured value × `scale` + `offset`; not 0", "number", "1"},
			{"offset", "see `scale`; for several quantities: `{temperature: -0.4, humidity: 2}`", "number", "0"},
			{"calibrate", "points instead of `scale` and `offset`: see below", "list", ""},
			{"valid", "the range of plausible values: see below", "", "the range of the part"},
			{"payload", "`json` or `plain`, for its streams: see [payload](#payload)", "", "the file's"},
			{"plain.history", "as [plain](#plain), for its streams: `plain: {history: true}`", "", "the file's"},
			{"average", "a reading is the mean of this many samples, taken at equal intervals", "", "1"},
			{"median", "a reading is their median instead: one outlier among five samples has no effect", "", "1"},
			{"precision", "0 to 9 decimal places in published values; halves are rounded away from zero", "whole number",
				"as many as the value has"},
		},
		after: "These keys are applied in this order: `scale` and `offset` or `calibrate`, `valid`, `average` or " +
			"`median`, `alarm`, `report`, `precision`. So `valid`, `alarm` and `report` compare corrected values that " +
			"are not rounded yet. For a sensor with several quantities, each key " +
			"can name them: `precision: {temperature: 1, humidity: 0}`. A mean and a median leave out failed samples; " +
			"a reading fails when all its samples have failed. The median of an even number of samples is the mean " +
			"of the two in the middle."},
	{path: "sensors.NAME.calibrate", title: "sensors: calibrate",
		intro: "`calibrate: [{reads: 0.5, is: 0}, {reads: 99.1, is: 100}]` corrects values along a line through " +
			"two points, or along lines from point to point. Before the first point and after the last one the nearest " +
			"line is extended; `valid` limits that. The values must always rise or always fall. For several quantities: " +
			"`calibrate: {humidity: [{reads: 33.9, is: 33.1}, {reads: 74.2, is: 75.5}]}`. The result may have " +
			"many digits: use `precision`.", keys: []configKey{
			{"reads", "the value that the sensor measures; needed", "", ""},
			{"is", "the true value; needed", "", ""},
		}},
	{path: "sensors.NAME.streams", title: "sensors: streams",
		intro: "`streams: {humidity: {stream: hum, name: \"湿度\"}, temperature: {name: \"温度\"}}`: the identifier " +
			"and names of each quantity's stream. `{humidity: hum}` is short for " +
			"`{humidity: {stream: hum}}`.", keys: []configKey{
			{"stream", "the identifier in topics and files", "name", "from the sensor's name"},
			{"name", "what people call it", "", "the sensor's name and the quantity"},
			{"area", "where it is", "", "the sensor's area"},
		}},
	{path: "sensors.NAME.alarm", title: "sensors: alarm",
		intro: "`alarm: {above: -15, clear: -17, for: 5m}` makes the stream `<stream>_alarm` with the states `ok` and " +
			"`alarm`. Its changes are sent first; the measured stream stays routine. For several quantities: " +
			"`alarm: {humidity: {above: 80}}`.", keys: []configKey{
			{"above", "an alarm while the value is above this", "", ""},
			{"below", "or below this; one of the two, not both", "", ""},
			{"clear", "`ok` again when the value is back beyond this", "", "the threshold"},
			{"for", "how long the value has to be beyond the threshold, at most `24h`", "", ""},
		}},
	{path: "sensors.NAME.report", title: "sensors: report", keys: []configKey{
		{"change", "a value is published if it differs from the last reading by at least this much", "", ""},
		{"at_least", "or if the last reading was this long ago, `1s` to `7d`", "", ""},
	}},
	{path: "sensors.NAME.valid", title: "sensors: valid",
		intro: "A value outside this range is a failed read, with the value in its error.", keys: []configKey{
			{"min", "the smallest value", "", ""},
			{"max", "the greatest value", "", ""},
			{"jump", "the greatest difference from the previous value; a jump that stays is accepted", "", ""},
		}},
	{path: "outputs.NAME", title: "outputs",
		intro: "An output has a name and keys. [Outputs](outputs.md) says what happens at " +
			"start, stop, crash and power cut. One of `gpio`, `mcp23017`, `pcf8574` and `command`, or `kind: " +
			"simulated`, is needed.\n\n```yaml\noutputs:\n" +
			"  siren: {gpio: GPIO22, active: low, class: siren, max_on: 3m, rest: 1m}\n" +
			"  gate:  {mcp23017: 0x20, pin: A3, pulse: 500ms}\n```",
		keys: []configKey{
			{"gpio", "a line of the machine, written as for a [sensor](sensors.md)", "", ""},
			{"mcp23017", "the I2C address of this port expander; needs `pin`", "`0x20` to `0x27`", ""},
			{"pcf8574", "the I2C address of a PCF8574 or PCF8574A; needs `pin`", "`0x20` to `0x27`, `0x38` to `0x3f`", ""},
			{"command", "a program and its arguments: it is kept running and gets the lines `on` and `off` on its " +
				"standard input", "", ""},
			{"kind", "`simulated`: nothing is switched", "", ""},
			{"i2c", "the I2C bus of the port expander", "", ""},
			{"pin", "of the port expander: `A0` to `A7` and `B0` to `B7`, or `P0` to `P7`", "", ""},
			{"active", "the level while the output is on: `high` or `low`", "", ""},
			{"name", "what people call it, in any script, at most 64 characters", "", ""},
			{"area", "the room or place, shown with the name", "", ""},
			{"class", "`switch`, `outlet`, `siren`, `light`, `lock`, `valve`, `water`, `gas`", "", ""},
			{"safe", "the level that is safe: `off`, or `on` for a lock that fails secure", "`on` or `off`", ""},
			{"max_on", "100ms to 30d: the longest time away from the safe level, for all orders; needed without " +
				"`pulse`. `never` means no limit, which is not allowed for a siren", "duration", ""},
			{"rest", "up to 24h: how long orders are refused after `max_on`", "", ""},
			{"pulse", "10ms to 1m: the length of each order, whatever it says", "", ""},
			{"interlock", "outputs that may not be on at the same time as this one", "", ""},
			{"commands", "`true`: it takes orders by MQTT", "", ""},
		}},
	{path: "outputs.NAME.confirm", title: "outputs: confirm",
		intro: "`confirm: {stream: pump_aux, is: running, within: 3s}`: a contact that shows what the output really does. " +
			"If it contradicts, that is a fault.", keys: []configKey{
			{"stream", "a stream with two states; needed", "", ""},
			{"is", "its state while the output is on; needed", "", ""},
			{"within", "100ms to 1m: how long it may take", "", ""},
		}},
	{path: "outputs.NAME.link_lost", title: "outputs: link_lost",
		intro: "`link_lost: {after: 10m, then: off}` ends orders that came by MQTT when the link is lost. Without it, an " +
			"order lasts until its end or `max_on`. Rules are not affected.", keys: []configKey{
			{"after", "up to 24h: how long the link has to be down; needed", "", ""},
			{"then", "the level to switch to; needed", "`on` or `off`", ""},
		}},
	{path: "access.NAME", title: "access",
		intro: "A door that opens for a card. A back end decides, or a list on the node if the back end does not answer. " +
			"See [consumers](consumers.md#a-card-a-door-and-a-back-end).", keys: []configKey{
			{"reader", "the stream of the card reader, whose values are the numbers of cards; needed", "stream", ""},
			{"output", "what opens the door, with `commands: true`; needed", "output", ""},
			{"open", "100ms to 1m: how long the door opens if the list decides; a back end says it in its order", "", ""},
			{"valid_for", "1s to 1m: how long after the card an answer is accepted", "", ""},
			{"answer_within", "up to `valid_for`: how long to wait for the back end before the list decides; without a " +
				"link the list decides at once", "", ""},
			{"allow_file", "the list of cards", "file", "only the back end decides"},
		}},
	{path: "rules.NAME", title: "rules",
		intro: "Rules switch outputs without a network: [rules](rules.md). A rule has a name and keys. It needs `then` and " +
			"one of `when`, `any` and `all`.\n\n```yaml\nrules:\n" +
			"  flood: {any: [{cellar: wet}, {kitchen: wet}], for: 5s, then: {pump: 10m}}\n```",
		keys: []configKey{
			{"when", "one condition: `{door: open}`, a stream and one of its states", "", ""},
			{"any", "several conditions, of which one is enough", "", ""},
			{"all", "several conditions, which have to be met at the same time", "", ""},
			{"for", "up to 24h: how long the condition has to be met without a break", "", "at once"},
			{"fault", "`trips`: a stream that cannot be read counts as met; `ignored`: as not met",
				"`trips` or `ignored`", "`ignored`"},
			{"armed", "the modes of [arming](alarm.md) in which the rule is active, such as `[away, home]`; or `always`, " +
				"which triggers the alarm in any state; or `disarmed`", "word or list", "active in each state of the panel"},
			{"then", "outputs, and the order for each: `on`, `off` or a time; needed", "", ""},
		}},
	{path: "arming", title: "arming",
		intro: "An alarm panel: [alarm](alarm.md). The node has one if this block exists. Its streams must have states.\n\n" +
			"```yaml\narming: {exit: 30s, entry: {front_door: 30s}, follow: [hall], ready: [window], key: key_switch}\n```",
		keys: []configKey{
			{"name", "what people call the panel", "", ""},
			{"area", "the room or place, shown with the name", "", ""},
			{"modes", "the modes of arming; the key switch uses the first", "", "`[away, home]`"},
			{"exit", "up to 10m: the exit delay, from the order until the panel is armed", "", ""},
			{"entry", "1s to 10m, for each stream: the entry delay, the time to disarm after it was opened", "",
				"none: at once"},
			{"follow", "streams on the way from the door to the keypad: they wait for a running entry delay", "", "none"},
			{"ready", "streams that must be in their first state, such as `closed`, when somebody arms", "", "none"},
			{"siren", "1s to 1h: how long the panel is triggered", "", ""},
			{"rearm", "`true`: then it is armed again; `false`: it is triggered until somebody disarms", "", ""},
			{"key", "the stream of a key switch: its second state, such as `open`, arms, and its first disarms", "", "none"},
			{"codes_file", "hashed codes, made with `holdfast arming code`; one of them is needed to disarm by an order",
				"file", "no code is needed"},
			{"code_to_arm", "`true`: also to arm", "", ""},
			{"commands", "`true`: it takes orders by MQTT", "", ""},
		}},
}
