package main

// logVariables are the messages of calls whose text is not a literal, by file and
// expression.
var logVariables = map[string][]string{
	"expiry.go: text": {"certificate expires soon: renew it", "certificate has expired: renew it"},
	"watchdog.go: what": {"hangs: the watchdog is not fed, and systemd will restart the agent",
		"hangs in the kernel, which a restart would not end"},
	"takeover.go: err.Error()": {"another client uses …: give each a client_id of its own"},
	"lograte.go: f.back":       {"sensor answers again", "quantity is back"},
}

// A logPart is one section of docs/log.md.
type logPart struct {
	title string
	lines []logMeaning
}

// A logMeaning says what a message means, and what to do.
type logMeaning struct{ text, means string }

var logParts = []logPart{
	{"Start, configuration and stop", []logMeaning{
		{"holdfast starts", "the queue is open and the sensors are started; the broker comes later"},
		{"holdfast stopped", "in order: what was in memory is on disk, and the broker was told"},
		{"configuration", "something in the file is accepted and probably not meant: `warning` says what"},
		{"configuration read again", "after SIGHUP or `systemctl reload`; what did not change went on"},
		{"configuration not changed: the file is wrong", "the agent goes on with what it had; `holdfast check` shows " +
			"each mistake in its place"},
		{"configuration not changed: the new one cannot be started", "the file is right and something that it names " +
			"cannot be had: `err` says what"},
		{"the configuration came from standard input: it cannot be read again", "it was started with `-c -`: give it " +
			"a file"},
		{"something is wrong with this machine", "what `holdfast doctor` finds at the start, with `mend`; also in " +
			"`agent/health` under `problems`"},
		{"no control socket: holdfast queue cannot ask this agent",
			"the state directory is not writable, or its path " +
				"is too long; everything else works"},
		{"control socket: no client was let in", "the system has no descriptor or memory left; it is tried again"},
		{"status page", "it can be looked at under `url`"},
		{"no status page", "the address or port is taken, or the TLS files cannot be read; it is tried again"},
		{"log lines are lost: what reads the log hung", "journald, or what reads standard error, took nothing for a " +
			"while. The agent went on: `lines` is how many are missing here"},
	}},
	{"The service manager", []logMeaning{
		{"hangs: the watchdog is not fed, and systemd will restart the agent",
			"a loop made no progress: `loop` names " +
				"it. Please report it, with the log before it"},
		{"hangs in the kernel, which a restart would not end", "a driver waits in the kernel; the agent goes on " +
			"without it. Look at `dmesg`; often it is the card or a bus"},
		{"makes progress again", "the loop that hung goes on"},
		{"the service manager's watchdog is not fed", "the notify socket cannot be written: systemd will restart the " +
			"agent"},
		{"the service manager was not told how the agent is", "`systemctl status` is out of date; nothing else is " +
			"wrong"},
	}},
	{"Sensors", []logMeaning{
		{"… fails", "the sensor or one of its quantities cannot be read: `err` says why. It is opened again by " +
			"itself, at most every 15 s"},
		{"… fails again and again: it is counted from here on", "as above; from here on it is counted instead of " +
			"logged each time"},
		{"… has failed", "the count of the last hour"},
		{"sensor answers again", "the failure is over"},
		{"quantity is back", "the failure of one quantity is over"},
		{"sensor not closed well", "the part was left in an unknown state; it is set up anew when it is opened"},
		{"event", "what a sensor or the clock reports; it is also on `agent/event`"},
		{"event comes again and again: it is counted from here on", "see `event`"},
		{"events", "the count of the last hour"},
		{"event lost: its details are no JSON", "a fault in the agent: please report it"},
	}},
	{"Outputs", []logMeaning{
		{"it is not known what the output does", "its line fails, hangs or reads back wrong, or its `confirm` stream " +
			"says otherwise: `err` says which. It is made safe as soon as it answers"},
		{"output answers again", "it is at its safe level"},
		{"the configuration that runs cannot be kept: holdfast outputs safe needs the file as it is now",
			"`running.yaml` beside the queue cannot be written. It is for the end of an agent whose file was edited " +
				"since it was read"},
		{"output not made safe at its end", "the line failed when the agent stopped, or when the output was changed: " +
			"look what it does"},
		{"output not closed well", "the line is safe; giving it back failed"},
		{"link_lost is not done", "`why` says what refused it: `rest`, or an interlock"},
		{"a change of an output is not in the history: the disk hangs", "the output works; ten thousand changes wait " +
			"for the disk"},
	}},
	{"Rules and the alarm panel", []logMeaning{
		{"the state of the panel was damaged: it is armed", "the card returned something else than was written: `state` " +
			"is what it is now. Disarm it, and change the card"},
		{"the state of the panel cannot be saved: a power cut would bring back an older one", "the disk is full, " +
			"read-only or broken: `err` says which. It is tried again every 30 s"},
		{"the state of the panel is saved again", "the disk works again"},
		{"no code is accepted: the codes file cannot be used", "`err` says why; after a reload it is read again. The key " +
			"switch still disarms"},
		{"five wrong codes: none is accepted for a minute", "somebody tries: look who may write to `alarm/set`"},
		{"answers come faster than they are reported: one is left out", "more cards were shown to a `door` than events " +
			"can be written: an event `access` is missing, the door did what it was told"},
		{"a change of the panel is not in the history: the disk hangs", "thousands of changes wait for the disk: " +
			"the panel itself is right, and so is its retained state"},
		{"a rule was due that is not configured any more: its actions do not run", "a reload took the `rule` away while " +
			"its entry delay ran: the panel is triggered all the same"},
		{"the disk hangs: the last changes of the panel may not be saved", "the agent stopped, and the disk did not " +
			"answer for 2 s"},
	}},
	{"The queue", []logMeaning{
		{"storage fails: readings are kept in memory", "the disk is full, read-only or broken: `err` says which. " +
			"Readings go to the broker all the same; a power cut now loses what waits. Make room, or change the card"},
		{"storage hangs: what comes is in memory only", "the disk neither takes nor refuses a write: the card is dying, " +
			"or a network file system is away"},
		{"storage works again", "what was in memory is on disk"},
		{"readings dropped",
			"`why` says whether it is the disk, `queue.max_size`, `queue.max_age` or a burst; what is " +
				"lost is declared as a gap"},
		{"readings come faster than the disk takes them: sensors wait for it", "a burst; nothing is lost while each " +
			"reading waits less than 2 s"},
		{"block on disk skipped", "a block fails its checksum and cannot be sent: the loss is declared as a gap"},
		{"blocks of the queue were damaged: the rest is used", "the card returned something else than was written: " +
			"change it soon"},
		{"damaged blocks stay in the queue", "they could not be taken out, since the disk cannot be written"},
		{"gaps on disk skipped", "declared losses of before cannot be read, and are not told"},
		{"item that was set aside is damaged and skipped", "one message of `holdfast queue export -aside` is lost"},
		{"what is set aside cannot be read", "the disk fails: it is tried again"},
		{"what is set aside cannot be read: it is tried again in a day", "the disk fails"},
		{"what is kept of a stream cannot be read", "the disk fails: it is tried again"},
		{"backlog cannot be read", "the disk fails: it is tried again each second; new readings go on from memory"},
		{"the queue was damaged: what is intact was carried over, the file is kept aside",
			"after a bad power cut or on " +
				"a dying card; what is lost is declared. Keep the file for a report, or delete it"},
		{"the queue is damaged and its disk cannot be written: what is intact is read from a copy in memory",
			"change the card; nothing that arrives now survives a restart"},
		{"the queue file can be neither read nor written: what is in it waits, the rest goes on in memory",
			"change the card, or mount the disk"},
		{"the queue file was emptied under the agent: what was in it is lost", "something truncated it; the loss is " +
			"declared"},
		{"the queue file was made anew with all that it held", "somebody deleted or replaced it under the agent; " +
			"nothing is lost"},
		{"the file at queue.path was not made by holdfast: it stays as it is",
			"another file is in its place; the queue " +
				"is beside it under the name in `using`"},
		{"a file aside was deleted",
			"damaged files of before are kept up to the size of the queue: this was the oldest"},
		{"a file aside stays", "it could not be deleted; do it by hand"},
		{"the queue held the backlog of another client ID: it is kept aside, and not sent",
			"the client ID changed; `holdfast queue adopt` sends it under the new one"},
		{"a backlog of another client ID lies beside the queue: holdfast queue adopt sends it under this one, or " +
			"delete the file", "as it says"},
		{"the backlog of another client ID was adopted", "by `holdfast queue adopt`"},
		{"the queue of another client ID is empty: it is used", "the client ID changed, and nothing waited"},
		{"readings of another client ID or queue were in memory only and are lost", "the configuration changed while " +
			"the disk failed"},
		{"what could not be written goes on in memory", "a reload while the disk fails"},
		{"this start could not be counted: its number may repeat",
			"the disk fails; consumers tell starts apart by the " +
				"eight random digits, too"},
		{"the count of starts could not be put back: it begins anew",
			"the queue was made anew; starts are told apart " +
				"by their random digits"},
		{"this start is not marked", "a crash now could not be told from a power cut; the disk fails"},
		{"the end of this start is not recorded: the next one will report it as a crash", "nothing is lost; the disk " +
			"is full or fails"},
		{"the marker of this start stays", "the next start takes this one for a crash; the disk fails"},
	}},
	{"The connection", []logMeaning{
		{"uplink up", "the broker has acknowledged something"},
		{"uplink down", "why, and when it is tried again; an error if somebody has to mend it, such as a password"},
		{"uplink goes back to the server that is preferred", "it answers again"},
		{"uplink connects anew: our network was away", "the link came back before the connection was known to be dead"},
		{"the kernel does not tell when the network is back: attempts come by their own pace",
			"no netlink, as in some " +
				"containers; it takes up to a second longer"},
		{"no orders come: the broker's access list has to allow this client to read the topic",
			"the broker denies the subscription to `topic`: readings go on, outputs take no orders"},
		{"orders are refused: the key cannot be read", "`commands.key_file` is not there, or others may read it"},
		{"offline was not acknowledged: the broker publishes the will",
			"the stop was not acknowledged in time; `offline` comes all the " +
				"same"},
		{"the broker has accepted the connection", "by which version of MQTT, and what it says of its limits; again when " +
			"that changes"},
		{"the broker does not take MQTT 5: 3.1.1 is used, and 5 is tried again later", "with `mqtt.version: auto`; " +
			"`why` is its answer, and 5 is tried with the first connection a day later (an hour, if there was none). " +
			"`mqtt.version: 3.1.1` never tries 5"},
		{"the broker keeps no retained messages: set mqtt.retain: false", "states go out without the retain flag: " +
			"see [brokers](brokers.md)"},
		{"a late will is corrected", "the broker noticed late that an earlier connection was dead"},
		{"another client uses …: give each a client_id of its own", "two agents take the name from each other; a " +
			"copied card has the same `client_id`"},
		{"certificate expires soon: renew it", "`certificate` names it: ours, the broker's or an authority's"},
		{"certificate has expired: renew it", "the next connection fails"},
	}},
	{"What the broker does not take", []logMeaning{
		{"the backlog is held: there is no proof that we may publish", "the broker acknowledges and drops what its " +
			"access list denies; readings wait. Allow the account to publish and read `CLIENT_ID/#`"},
		{"the backlog is held: the broker refuses what we publish", "with MQTT 5; `why` is the broker's reason. " +
			"Readings wait, and each stream is tried once a minute"},
		{"uplink may publish: the backlog goes out", "mended: the proof came back, or the broker takes a reading"},
		{"a stream is held: the broker acknowledges its readings and does not forward them",
			"as above, for one stream"},
		{"a stream is held: the broker refuses its readings", "the same with MQTT 5"},
		{"the broker refuses a message: it is set aside and tried again in a day", "too large, or a topic or payload " +
			"that it does not take: `holdfast queue export -aside`. `why` is its answer (MQTT 5), or how the " +
			"last of three sessions ended: it closed the connection, or acknowledged nothing behind the message"},
		{"the broker refuses one message after another of a stream: they are kept and tried again in a day",
			"the same for a second message of a stream"},
		{"the broker still refuses what is set aside", "a day later; it stays aside"},
		{"the broker does not take a message about ourselves, and readings go on without it", "it is too large, or its " +
			"topic is not allowed: the next shorter form goes, and the whole one is tried again later"},
		{"the broker refuses a message about ourselves", "a state, or what stands under `agent/`; the next one is " +
			"sent all the same"},
		{"nobody hears a stream: the broker has no subscriber for it", "with MQTT 5, if the broker tells: the readings " +
			"count as delivered. Is the recorder connected?"},
		{"a stream is heard again", "`unheard` readings went to nobody"},
		{"whether anybody hears a stream is not known any more: MQTT 3.1.1 has no word for it",
			"the broker has spoken MQTT 5 until now, and said that nobody heard it"},
		{"the broker takes a stream again: what was kept goes out", "mended"},
		{"readings that the broker acknowledged may not have arrived",
			"between the last proof and its failure: they are " +
				"declared as a gap with `why: unproven`"},
		{"the broker refuses each message of a stream: they are kept and tried again in a day", "its topic is not " +
			"allowed"},
		{"the broker refuses each state of a stream: it is not sent for a day", "its topic is not " +
			"allowed, or the broker takes nothing retained: see `mqtt.retain`"},
		{"the broker refuses a stream that it took: it is held again", "the access list changed while it drained"},
		{"the broker takes what it refused", "mended"},
		{"the broker closes the connection for the proof that we may publish: readings go without it", "allow this " +
			"account to publish and read `agent/canary`, or set `mqtt.prove_publish: false`"},
		{"the broker closes the connection when we subscribe to our own readings: they go without proof that they " +
			"arrive", "allow it to read what it publishes, or set `mqtt.prove_publish: false`"},
		{"a message about ourselves does not get through, and readings go on without it", "`topic` and `bytes` say " +
			"which: an access list, a limit on size, or a path that loses large packets"},
		{"what did not get through does so again", "mended"},
		{"a message on a topic that we read is too large: it is not read for now", "somebody else publishes there"},
		{"what an earlier start left with the broker cannot be cleared", "an old state stays retained; " +
			"`mosquitto_pub -r -n -t TOPIC` takes it away"},
		{"readings were too late for a plain payload, and were not sent",
			"a bare value cannot say that it is old: `count` of them; the event `skipped` names their streams"},
		{"take-overs and late wills go unnoticed", "this account may not read `agent/status` or `agent/info`"},
		{"when Home Assistant restarts it is not told again",
			"this account may not read Home Assistant's status topic"},
	}},
	{"The embedded broker", []logMeaning{
		{"embedded broker: connection ended", "why a client went"},
		{"embedded broker: client disconnected", "it read too slowly"},
		{"embedded broker: a message is not retained: too many are", "it keeps so many: use a real broker"},
	}},
	{"Updates", []logMeaning{
		{"is up to date", "the source has nothing newer"},
		{"installs", "a newer version; the one before is kept"},
		{"keeps the new version", "it was ready, and the broker acknowledged something"},
		{"goes back to the version before", "the new one did not deliver within ten minutes: `why`"},
		{"judges the version whose update was interrupted", "after a power cut in the middle of one"},
		{"leaves out a version that did not deliver", "it is tried again at `until`"},
		{"an old package was not removed", "it takes room in the state directory: delete it by hand"},
		{"no event tells of the update", "the agent could not be asked; the log has it"},
	}},
	{"Doors", []logMeaning{
		{"the list of cards cannot be read: the door stays as it is", "`allow_file` is not there, or a line of it is " +
			"wrong: `err` says which"},
		{"the door does not open by the list", "the list has the card, and the output refused: `why`"},
		{"a card reader's value is not the number of a card", "a number is whole and below 2⁵³: the program behind " +
			"`kind: lines` has to make it so"},
		{"cards come faster than the list is searched: one is left out", "somebody plays with the reader"},
	}},
}

var logEvents = []logMeaning{
	{"gap", "numbers that never come: `stream`, `from`, `to`, `count` and `why` (`dropped`, `thinned`, `damaged`, " +
		"`aside`, " +
		"`unproven`); a consumer need not wait for them"},
	{"storage", "`state` is `fails`, `hangs`, `works` or `damaged`: see the queue above"},
	{"quarantine", "a damaged queue file was kept aside, and what was intact carried over"},
	{"fault", "a sensor, or a quantity of it, cannot be read: `error`"},
	{"recovered", "it can be read again, after `after_s` seconds; an `output` is at its safe level"},
	{"output_fault", "it is not known what the output `output` does: `error` says why; its state is `null`"},
	{"flapping", "a contact changes faster than `flapping` allows: its state is held until it rests"},
	{"clock_step", "the wall clock was set: `by_ms`; times of before are corrected where that is possible"},
	{"take_over", "another client uses our client ID: `other` is the boot of its birth"},
	{"command", "what became of an order by MQTT: `result`, and `why` it was not done; `count` of several"},
	{"access", "the list of cards on the node decided, as no back end answered: `result`, and `who` or `why`"},
	{"aside", "the broker refuses a message or a stream: `holdfast queue export -aside`"},
	{"skipped", "readings that were too late for plain payloads and were not sent: `count`, `streams`, and when the " +
		"first and the last was measured, `first_ts` and `last_ts`"},
	{"unheard", "the broker has no subscriber for `stream` any more, or has one again, after `count` readings: " +
		"`began` is `true` or `false`. With `why`, a broker that tells was replaced by one that does not"},
	{"unclean_start", "a power cut, a crash or a kill ended the start before this one, whose number is `last`: look " +
		"at " +
		"the power supply"},
	{"arming_file", "`state` is `damaged` (the panel is armed now, as `now` says), `unsaved` or `saved`: see the alarm " +
		"panel above"},
	{"arming_refused", "the key switch could not arm: `why`, such as `open: window`"},
	{"code_lock", "five wrong codes were entered: none is accepted for `for_s` seconds"},
	{"tripped", "a rule of the file has begun: `rule`, and the `streams` that met it"},
	{"order_refused", "an `output` did not do what a rule or the panel wanted: `by` and `why`"},
	{"update", "the outcome of an update: the version that runs, and why"},
}
