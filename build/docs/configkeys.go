package main

// configSections are the tables of docs/configuration.md, in its order.
var configSections = []configSection{
	{path: "", title: "The node", keys: []configKey{
		{"client_id", "the MQTT client ID, the first level of every topic and the name of the node; " +
			"no two nodes may share one", "name", "`pi-` and the end of the board's serial number"},
		{"name", "what people call the node, in any script (`厨房`), at most 64 characters: shown on the status page, " +
			"by `status` and `doctor`, and in Home Assistant; topics and identifiers have `client_id`", "", "`client_id`"},
		{"area", "the room or place, to be shown with it; in Home Assistant the area of the device", "", ""},
	}},
	{path: "mqtt", title: "mqtt", intro: "Either `server` or `servers` is needed.", keys: []configKey{
		{"server",
			"`mqtt://`, `mqtts://`, `ws://` or `wss://`, host and port; or `embedded`, a broker inside the agent. A host " +
				"that ends in `.local` is looked up by multicast DNS. [Clouds](clouds.md) has whole files", "", ""},
		{"servers", "several, in order: the next is tried when one does not answer", "", ""},
		{"username", "", "", "the client ID"},
		{"password_file", "its first line; else systemd's credential `mqtt.password`, `$HOLDFAST_MQTT_PASSWORD`, or " +
			"`/etc/holdfast/mqtt.password`, which the package's unit passes on", "file", ""},
		{"allow_plaintext", "`true` lets a password travel over `mqtt://` or `ws://` to a public address", "", ""},
		{"keepalive", "5s to 10m; a dead link is found in 30 s, or in 15 s more than a longer keepalive", "", ""},
		{"bind", "send only through this interface (`wwan0`) or from this address of ours", "", ""},
		{"prove_publish", "prove that what is published arrives; `false` for an account that may write and not read",
			"", ""},
		{"retain", "`false` for a broker without retained messages: see [brokers](brokers.md)", "", ""},
		{"version", "of MQTT: `3.1.1`, `5`, or `auto`: 5, and 3.1.1 where the broker refuses that", "", "`auto`"},
		{"will_delay", "0s to 5m: how long a connection is lost until the broker says that we are offline, with MQTT 5",
			"", ""},
		{"properties", "readings have `boot`, `seq` and `historical` as user properties beside the payload, with MQTT 5",
			"", ""},
	}},
	{path: "mqtt.health", title: "mqtt.health", keys: []configKey{
		{"every", "10s to 1h: the time between two messages on `agent/health`, 300 bytes each. What is wrong is sent " +
			"at once, however long that is; it cannot be switched off, since a heartbeat that stays away tells of " +
			"a node that hangs", "", ""},
	}},
	{path: "mqtt.reconnect", title: "mqtt.reconnect",
		intro: "For fleets: see [brokers](brokers.md#a-fleet-that-comes-back).",
		keys: []configKey{
			{"within",
				"1s to 50s: nine of ten agents try again within this time after the broker closed or refused, each " +
					"in a turn of its own; after two minutes more and more rarely. When the node's own link was " +
					"away it tries each second", "", ""},
		}},
	{path: "mqtt.tls", title: "mqtt.tls", intro: "For `mqtts://` and `wss://`. The server's certificate and " +
		"name are always verified.", keys: []configKey{
		{"ca", "certificates of authorities, in PEM, in place of the system's", "file", "the system's"},
		{"cert", "our certificate, in PEM; needs `key`", "file", ""},
		{"key", "its private key, in PEM", "file", ""},
		{"server_name", "the name in the server's certificate, where it is not the host's", "", "the host"},
		{"alpn", "the protocol to ask for, where the broker wants one: `x-amzn-mqtt-ca`", "", ""},
	}},
	{path: "mqtt.embedded", title: "mqtt.embedded", intro: "For `server: embedded`.", keys: []configKey{
		{"listen", "host and port; off loopback it needs a password", "", ""},
		{"password_file", "the password of all clients", "file", ""},
	}},
	{path: "queue", title: "queue", intro: "What waits for the broker, on disk.", keys: []configKey{
		{"path", "the file; its folder is the agent's own", "file", ""},
		{"max_size", "1MiB to 1024GiB (256MiB on 32-bit ARM); then the oldest routine readings are thinned out, " +
			"then dropped; alarms last", "size", "`64MiB`"},
		{"max_age", "1h to 3650d; older readings are dropped", "", "no bound"},
		{"sync_every", "100ms to 10m: the most routine history that a power cut can take; of alarms it takes none", "",
			""},
	}},
	{path: "drain", title: "drain",
		intro: "How fast a backlog goes out. Alarms, states and readings without a backlog " +
			"are not paced.", keys: []configKey{
			{"rate",
				"`auto`: 500 readings at once, then 250 a second ([brokers](brokers.md)); or 1 to 1000000 readings a " +
					"second; `0`: as fast as the link takes them", "", "`auto`"},
			{"window",
				"1 to 1024 messages in flight; where the broker answers at once and `rate` needs more, 20 grows " +
					"to at most 128, and no other number does", "", ""},
		}},
	{path: "topics", title: "topics", intro: "Both patterns need `{client_id}` and `{stream}`.", keys: []configKey{
		{"reading", "every reading", "", ""},
		{"state", "the latest reading of each stream, retained", "", ""},
	}},
	{path: "", title: "payload", intro: "What readings and states look like: see " +
		"[topics](topics.md#plain-payloads). Both keys also stand at a sensor, for its streams.", keys: []configKey{
		{"payload", "`json`, or `plain`: the bare value or the word of the state, without its time", "", "`json`"},
	}},
	{path: "plain", title: "plain", keys: []configKey{
		{"history", "`true`: what is more than ten seconds late is sent all the same, though nothing marks it", "", ""},
	}},
	{path: "home_assistant", title: "home_assistant", keys: []configKey{
		{"discovery", "announce the device and its streams to Home Assistant", "", ""},
		{"prefix", "Home Assistant's own discovery prefix", "", ""},
	}},
	{path: "commands", title: "commands", intro: "How orders by MQTT are judged: see [commands](commands.md). Which " +
		"outputs take any is written at the outputs.", keys: []configKey{
		{"max_age", "1s to 10m: an order that was sent earlier is refused, and a signed one may be valid for no longer",
			"", ""},
		{"key_file", "its first line is the key of the `mac` that each order needs then: for brokers that others may " +
			"write to", "file", "orders need no `mac`"},
	}},
	{path: "status", title: "status",
		intro: "A page that shows what the node knows of itself, `/metrics` for Prometheus and " +
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
		{"trust", "whether the system's time is right: `auto` asks the kernel, systemd-timesyncd, chrony and the " +
			"real-time clock; `always` and `never` are for containers and sites with their own clock", "", "`auto`"},
	}},
	{path: "sensors.NAME", title: "sensors",
		intro: "A sensor is its name and its keys. These are the keys of every kind; " +
			"[sensors](sensors.md) has those of each.\n\n```yaml\nsensors:\n" +
			"  door: {kind: contact, gpio: GPIO17, normally: closed, class: door, alarm: true}\n" +
			"  room: {kind: bme280, i2c: \"1\", address: 0x76, every: 30s, streams: {humidity: hum}}\n" +
			"  freezer:\n    kind: w1\n    id: 28-0316a2797bff\n" +
			"    offset: -0.4                                  # the sensor reads 0.4 °C too much\n" +
			"    average: 5                                    # a reading is the mean of so many samples\n" +
			"    valid: {min: -60, max: 60, jump: 5}           # what is implausible is a failed read\n" +
			"    report: {change: 0.3, at_least: 10m}          # only what is worth saying\n" +
			"    alarm: {above: -15, clear: -17, for: 5m}      # makes the stream freezer_alarm: ok, alarm\n```",
		keys: []configKey{
			{"kind", "which of the [kinds](sensors.md#kinds); needed", "", ""},
			{"every",
				"the time between two measurements, from `1ms` up; a kind that reports when something happens " +
					"takes none",
				"", "the kind's"},
			{"name", "what people call it, in any script (`Küche`), at most 64 characters; one of several quantities " +
				"adds the quantity. Kinds with a `name` of the part (dht, hwmon, iio) take it under `streams`", "", ""},
			{"area", "the room or place, to be shown with it", "", ""},
			{"streams",
				"other identifiers for streams: `{humidity: hum}`. Without it a sensor of one quantity names its stream " +
					"after itself (`door`), one of several makes `<sensor>_<quantity>` (`room_humidity`). With keys, what " +
					"people call each: see below", "", ""},
			{"class", "Home Assistant's device class, for a sensor of one quantity", "", "the quantity's"},
			{"alarm", "`true`: all its readings go first, and are on disk at once. With thresholds: see below", "", ""},
			{"report", "only readings that differ enough or are old enough: see below", "", "each"},
			{"scale", "what is read times this, then plus `offset`, is the value; not 0", "number", "1"},
			{"offset", "see `scale`; of several quantities by name: `{temperature: -0.4, humidity: 2}`", "number", "0"},
			{"calibrate", "points in place of `scale` and `offset`: see below", "list", ""},
			{"valid", "what is plausible: see below", "", "what the part can measure"},
			{"payload", "`json` or `plain`, for its streams: see [payload](#payload)", "", "the file's"},
			{"plain.history", "as [plain](#plain), for its streams: `plain: {history: true}`", "", "the file's"},
			{"average", "the mean of so many samples, taken evenly, is one reading", "", "1"},
			{"median", "the median instead of the mean: one wild sample of five changes nothing", "", "1"},
			{"precision", "0 to 9 decimal places of what is published, halves away from zero", "whole number",
				"what the value has"},
		},
		after: "A value passes these keys in this order: `scale` and `offset` or `calibrate`, `valid`, `average` or " +
			"`median`, `alarm`, `report`, `precision`. So the bounds of `valid`, `alarm` and `report` are true values, " +
			"and an alarm compares what was not rounded yet. Where a sensor measures several quantities, each key " +
			"can name them: `precision: {temperature: 1, humidity: 0}`. Failed samples are left out of a mean and " +
			"of a median; a reading fails when all its samples have. The median of an even number is the mean of " +
			"the two in the middle."},
	{path: "sensors.NAME.calibrate", title: "sensors: calibrate",
		intro: "`calibrate: [{reads: 0.5, is: 0}, {reads: 99.1, is: 100}]` puts a line through two points, or one from " +
			"point to point through more. Beyond the first and the last point the nearest line goes on; `valid` " +
			"bounds that. The values have to rise or fall all the way. A sensor of several quantities says which: " +
			"`calibrate: {humidity: [{reads: 33.9, is: 33.1}, {reads: 74.2, is: 75.5}]}`. What comes of it may have " +
			"many digits: write `precision` beside it.", keys: []configKey{
			{"reads", "what the sensor reads; needed", "", ""},
			{"is", "the true value then; needed", "", ""},
		}},
	{path: "sensors.NAME.streams", title: "sensors: streams",
		intro: "`streams: {humidity: {stream: hum, name: \"湿度\"}, temperature: {name: \"温度\"}}`: what is said of the " +
			"stream of each quantity. `{humidity: hum}` is short for `{humidity: {stream: hum}}`.", keys: []configKey{
			{"stream", "another identifier, in topics and files", "name", "the sensor's"},
			{"name", "what people call it", "", "the sensor's name and the quantity"},
			{"area", "where it is", "", "the sensor's area"},
		}},
	{path: "sensors.NAME.alarm", title: "sensors: alarm",
		intro: "`alarm: {above: -15, clear: -17, for: 5m}` makes the stream `<stream>_alarm`: `ok`, `alarm`. Its " +
			"changes go first; the measured stream stays routine. A sensor of several quantities says which: " +
			"`alarm: {humidity: {above: 80}}`.", keys: []configKey{
			{"above", "an alarm while the value is above this", "", ""},
			{"below", "or below this; one of the two, not both", "", ""},
			{"clear", "`ok` again beyond this", "", "the threshold"},
			{"for", "how long it has to be beyond the threshold", "", ""},
		}},
	{path: "sensors.NAME.report", title: "sensors: report", keys: []configKey{
		{"change", "a value is a reading if it differs by this much from the last one", "", ""},
		{"at_least", "or if the last one was so long ago", "", ""},
	}},
	{path: "sensors.NAME.valid", title: "sensors: valid",
		intro: "A value outside is a failed read, with the value in its error.", keys: []configKey{
			{"min", "the smallest", "", ""},
			{"max", "the greatest", "", ""},
			{"jump", "the furthest from the value before; a jump that stays is believed", "", ""},
		}},
	{path: "outputs.NAME", title: "outputs",
		intro: "An output is its name and its keys: [outputs](outputs.md) says what each does, and what happens at " +
			"start, stop, crash and power cut. One of `gpio`, `mcp23017`, `pcf8574` and `command`, or `kind: " +
			"simulated`, is needed.\n\n```yaml\noutputs:\n" +
			"  siren: {gpio: GPIO22, active: low, class: siren, max_on: 3m, rest: 1m}\n" +
			"  gate:  {mcp23017: 0x20, pin: A3, pulse: 500ms}\n```",
		keys: []configKey{
			{"gpio", "a line of the machine, written as for a [sensor](sensors.md)", "", ""},
			{"mcp23017", "the address of the port expander; `pin` says which", "`0x20` to `0x27`", ""},
			{"pcf8574", "the same of a PCF8574 or PCF8574A", "`0x20` to `0x27`, `0x38` to `0x3f`", ""},
			{"command", "a program and its arguments: it is kept running and told `on` or `off`, a line each, on its " +
				"standard input", "", ""},
			{"kind", "`simulated`: nothing is switched", "", ""},
			{"i2c", "the bus of the part", "", ""},
			{"pin", "of the part: `A0` to `A7` and `B0` to `B7`, or `P0` to `P7`", "", ""},
			{"active", "the level while the output is on: `high` or `low`", "", ""},
			{"name", "what people call it, in any script, at most 64 characters", "", ""},
			{"area", "the room or place, to be shown with it", "", ""},
			{"class", "`switch`, `outlet`, `siren`, `light`, `lock`, `valve`, `water`, `gas`", "", ""},
			{"safe", "the level that is safe: `off`, or `on` for a lock that fails secure", "`on` or `off`", ""},
			{"max_on", "100ms to 30d: the longest time away from the safe level, whatever orders it; needed without " +
				"`pulse`. `never` is no limit, which a siren cannot have", "duration", ""},
			{"rest", "to 24h: after `max_on` no order is done for so long", "", ""},
			{"pulse", "10ms to 1m: each order lasts so long, whatever it says", "", ""},
			{"interlock", "outputs of which none may be on while this one is, and the other way round", "", ""},
			{"commands", "`true`: it takes orders by MQTT", "", ""},
		}},
	{path: "outputs.NAME.confirm", title: "outputs: confirm",
		intro: "`confirm: {stream: pump_aux, is: running, within: 3s}`: a contact that says what the output really does. " +
			"Where it does not, that is a fault.", keys: []configKey{
			{"stream", "of a sensor, with two states; needed", "", ""},
			{"is", "its state while the output is on; needed", "", ""},
			{"within", "100ms to 1m: how long it may take", "", ""},
		}},
	{path: "outputs.NAME.link_lost", title: "outputs: link_lost",
		intro: "`link_lost: {after: 10m, then: off}`: what becomes of an order that came by MQTT. Without it, the order " +
			"holds until its end or `max_on`. Rules go on in any case.", keys: []configKey{
			{"after", "to 24h: how long the link has to be down; needed", "", ""},
			{"then", "the level to go to; needed", "`on` or `off`", ""},
		}},
	{path: "access.NAME", title: "access",
		intro: "A door that opens for a card: a back end is asked, and a list on the node decides where none answers. " +
			"See [consumers](consumers.md#a-card-a-door-and-a-back-end).", keys: []configKey{
			{"reader", "the stream of the card reader, whose values are the numbers of cards; needed", "stream", ""},
			{"output", "what opens the door, with `commands: true`; needed", "output", ""},
			{"open", "100ms to 1m: for how long the list opens it; a back end says so itself", "", ""},
			{"valid_for", "1s to 1m: how long after the card an answer is taken", "", ""},
			{"answer_within", "to `valid_for`: how long the back end is waited for before the list decides; without a " +
				"link the list decides at once", "", ""},
			{"allow_file", "the list", "file", "the back end alone decides"},
		}},
	{path: "rules.NAME", title: "rules",
		intro: "What happens without a network: [rules](rules.md). A rule is its name and its keys. It needs `then` and " +
			"one of `when`, `any` and `all`.\n\n```yaml\nrules:\n" +
			"  flood: {any: [{cellar: wet}, {kitchen: wet}], for: 5s, then: {pump: 10m}}\n```",
		keys: []configKey{
			{"when", "one condition: `{door: open}`, a stream of states and its word", "", ""},
			{"any", "several, of which each begins the rule by itself", "", ""},
			{"all", "several, which have to be met at the same time", "", ""},
			{"for", "to 24h: how long without a break", "", "at once"},
			{"fault", "`trips`: a stream that fails counts as met; `ignored`: as not met", "`trips` or `ignored`", "`ignored`"},
			{"armed", "the modes of [arming](alarm.md) in which it looks, such as `[away, home]`; or `always`, which " +
				"triggers the alarm in any state; or `disarmed`", "word or list", "the panel does not concern it"},
			{"then", "outputs, and what they do: `on`, `off` or a time; needed", "", ""},
		}},
	{path: "arming", title: "arming",
		intro: "An alarm panel: [alarm](alarm.md). There is one if the block is there. Streams in it are of states.\n\n" +
			"```yaml\narming: {exit: 30s, entry: {front_door: 30s}, follow: [hall], ready: [window], key: key_switch}\n```",
		keys: []configKey{
			{"name", "what people call the panel", "", ""},
			{"area", "the room or place, to be shown with it", "", ""},
			{"modes", "ways to be armed; the key switch takes the first", "", "`[away, home]`"},
			{"exit", "to 10m: from an order to armed", "", ""},
			{"entry", "1s to 10m, by stream: the time to disarm after it was opened", "", "none: at once"},
			{"follow", "streams on the way from the door to the keypad: they wait for the entry delay that runs", "", "none"},
			{"ready", "streams that have to say their first word, such as `closed`, when somebody arms", "", "none"},
			{"siren", "1s to 1h: how long it is triggered", "", ""},
			{"rearm", "`true`: it is armed again after that; `false`: it is triggered until somebody disarms", "", ""},
			{"key", "the stream of a key switch: its second word, such as `open`, arms, and its first disarms", "", "none"},
			{"codes_file", "hashed codes, made with `holdfast arming code`; one of them is needed to disarm by an order",
				"file", "no code is asked for"},
			{"code_to_arm", "`true`: also to arm", "", ""},
			{"commands", "`true`: it takes orders by MQTT", "", ""},
		}},
}
