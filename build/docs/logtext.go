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

// A logMeaning is the meaning of a message, and the remedy.
type logMeaning struct{ text, means string }

var logParts = []logPart{
	{"Start, configuration and stop", []logMeaning{
		{"holdfast starts",
			"the queue is open and the sensors are started; the connection to the broker comes later"},
		{"holdfast stopped", "a normal stop: readings in memory were written to disk, and the broker was told"},
		{"configuration", "something in the file is allowed but probably a mistake: `warning` says what"},
		{"configuration read again", "after SIGHUP or `systemctl reload`; unchanged parts kept running"},
		{"configuration not changed: the file is wrong",
			"the agent keeps the old configuration; `holdfast check` lists each mistake and its place"},
		{"configuration not changed: the new one cannot be started",
			"the file is right, but something that it names is not available: `err` says what"},
		{"the configuration came from standard input: it cannot be read again",
			"the agent was started with `-c -`: use a file instead"},
		{"something is wrong with this machine",
			"a finding of `holdfast doctor` at the start, with its remedy in `mend`; also in `agent/health` " +
				"under `problems`"},
		{"no control socket: holdfast queue cannot ask this agent",
			"the state directory is not writable, or its path " +
				"is too long; everything else works"},
		{"control socket: no client was let in",
			"the system has no file descriptor or memory left; it is tried again"},
		{"status page", "the page is at `url`"},
		{"no status page", "the address or port is in use, or the TLS files cannot be read; it is tried again"},
		{"log lines are lost: what reads the log hung", "journald, or what reads standard error, took nothing for a " +
			"while. The agent went on: `lines` is how many are missing here"},
	}},
	{"The service manager", []logMeaning{
		{"hangs: the watchdog is not fed, and systemd will restart the agent",
			"a part of the agent made no progress: `loop` names it. Please report it, with the log before it"},
		{"hangs in the kernel, which a restart would not end",
			"a driver waits in the kernel; the agent goes on without it. Look at `dmesg`; the cause is often " +
				"the card or a bus"},
		{"makes progress again", "the part that hung works again"},
		{"the service manager's watchdog is not fed", "the notify socket cannot be written: systemd will restart the " +
			"agent"},
		{"the service manager was not told how the agent is",
			"the status in `systemctl status` is out of date; nothing else is wrong"},
	}},
	{"Sensors", []logMeaning{
		{"… fails",
			"the sensor or one of its quantities cannot be read: `err` says why. The agent opens it again, at " +
				"most every 15 s"},
		{"… fails again and again: it is counted from here on",
			"as above; from now on failures are counted instead of logged each time"},
		{"… has failed", "the number of failures in the last hour"},
		{"sensor answers again", "the failure is over"},
		{"quantity is back", "the failure of one quantity is over"},
		{"sensor not closed well", "the part may be in an unknown state; it is set up again when it is opened"},
		{"event", "an event of a sensor or of the clock; it is also on `agent/event`"},
		{"event comes again and again: it is counted from here on",
			"from now on these events are counted instead of logged each time"},
		{"events", "the number of events in the last hour"},
		{"event lost: its details are no JSON", "a bug in the agent: please report it"},
	}},
	{"Outputs", []logMeaning{
		{"it is not known what the output does",
			"its line fails, hangs or reads back wrong, or its `confirm` stream contradicts: `err` says which. " +
				"The output is switched to its safe level as soon as it answers"},
		{"output answers again", "it is at its safe level"},
		{"the configuration that runs cannot be kept: holdfast outputs safe needs the file as it is now",
			"`running.yaml` beside the queue cannot be written. `holdfast outputs safe` reads it if the " +
				"configuration file was edited while the agent ran"},
		{"output not made safe at its end",
			"the line failed when the agent stopped or the output was changed: check the device itself"},
		{"output not closed well", "the line is at its safe level; releasing it failed"},
		{"link_lost is not done", "`why` says what prevented it: `rest`, or an interlock"},
		{"a change of an output is not in the history: the disk hangs", "the output works; ten thousand changes wait " +
			"for the disk"},
	}},
	{"Rules and the alarm panel", []logMeaning{
		{"the state of the panel was damaged: it is armed",
			"the card returned wrong data: `state` is the present state. Disarm the panel, and replace the card"},
		{"the state of the panel cannot be saved: a power cut would bring back an older one", "the disk is full, " +
			"read-only or broken: `err` says which. It is tried again every 30 s"},
		{"the state of the panel is saved again", "the disk works again"},
		{"no code is accepted: the codes file cannot be used",
			"`err` says why; it is read again at a reload. The key switch still disarms"},
		{"five wrong codes: none is accepted for a minute",
			"somebody tries codes: check who may publish to `alarm/set`"},
		{"answers come faster than they are reported: one is left out",
			"more cards were used at a `door` than events can be written: an event `access` is missing, but " +
				"the door did what it was told"},
		{"a change of the panel is not in the history: the disk hangs",
			"thousands of changes wait for the disk; the panel itself and its retained state are right"},
		{"a rule was due that is not configured any more: its actions do not run",
			"a reload removed the `rule` while its entry delay ran; the panel is triggered nevertheless"},
		{"the disk hangs: the last changes of the panel may not be saved", "the agent stopped, and the disk did not " +
			"answer for 2 s"},
	}},
	{"The queue", []logMeaning{
		{"storage fails: readings are kept in memory",
			"the disk is full, read-only or broken: `err` says which. Readings are still sent to the broker, " +
				"but a power cut loses the backlog. Free some space, or replace the card"},
		{"storage hangs: new readings are in memory only",
			"the disk neither completes nor refuses a write: the card may be failing, or a network file system " +
				"is not reachable"},
		{"storage works again", "the readings in memory were written to disk"},
		{"readings dropped",
			"`why` says the cause: the disk, `queue.max_size`, `queue.max_age` or a burst; the loss is " +
				"declared as a gap"},
		{"readings come faster than the disk takes them: sensors wait for it", "a burst; nothing is lost while each " +
			"reading waits less than 2 s"},
		{"block on disk skipped",
			"the checksum of a block is wrong, so its readings cannot be sent: the loss is declared as a gap"},
		{"blocks of the queue were damaged: the rest is used", "the card returned wrong data: replace it soon"},
		{"damaged blocks stay in the queue", "they could not be removed, because the disk cannot be written"},
		{"gaps on disk skipped", "earlier gaps cannot be read, and are not published"},
		{"item that was set aside is damaged and skipped", "one message of `holdfast queue export -aside` is lost"},
		{"messages that were set aside cannot be read", "the disk fails: it is tried again"},
		{"messages that were set aside cannot be read: it is tried again in a day", "the disk fails"},
		{"what is kept of a stream cannot be read",
			"the disk fails: the readings of a held stream are tried again"},
		{"backlog cannot be read",
			"the disk fails: it is tried again each second; new readings are sent from memory"},
		{"the queue was damaged: what is intact was carried over, the file is kept aside",
			"after a bad power cut, or with a failing card; losses are declared as gaps. Keep the file for a " +
				"bug report, or delete it"},
		{"the queue is damaged and its disk cannot be written: what is intact is read from a copy in memory",
			"replace the card; new readings do not survive a restart"},
		{"the queue file can be neither read nor written: what is in it waits, the rest goes on in memory",
			"replace the card, or mount the disk"},
		{"the queue file was emptied under the agent: what was in it is lost",
			"another program truncated it; the loss is declared as a gap"},
		{"the queue file was restored with all that it contained",
			"another program deleted or replaced it; nothing is lost"},
		{"the file at queue.path was not made by holdfast: it stays as it is",
			"the path has a file of another program; the queue is beside it, under the name in `using`"},
		{"a quarantined file was deleted", "damaged files are kept up to the size of the queue: this was the oldest"},
		{"a quarantined file could not be deleted", "it could not be deleted; delete it by hand"},
		{"the queue held the backlog of another client ID: it is kept aside, and not sent",
			"the client ID changed; `holdfast queue adopt` sends it under the new one"},
		{"a backlog of another client ID lies beside the queue: holdfast queue adopt sends it under this one, or " +
			"delete the file",
			"adopt or delete it, as the message says"},
		{"the backlog of another client ID was adopted", "by `holdfast queue adopt`"},
		{"the queue of another client ID is empty: it is used",
			"the client ID changed, and there was no backlog"},
		{"readings of another client ID or queue were in memory only and are lost", "the configuration changed while " +
			"the disk failed"},
		{"unwritten readings stay in memory",
			"a reload while the disk fails: unwritten readings stay in memory"},
		{"this start could not be counted: its number may repeat",
			"the disk fails; the eight random digits still distinguish the starts"},
		{"the count of starts could not be restored: it begins at 1 again",
			"the queue file was created again; the random digits still distinguish the starts"},
		{"the marker of this start could not be written",
			"the disk fails; a crash of this start could not be distinguished from a power cut"},
		{"the end of this start is not recorded: the next one will report it as a crash", "nothing is lost; the disk " +
			"is full or fails"},
		{"the marker of this start could not be deleted", "the disk fails; the next start will report this one as a crash"},
	}},
	{"The connection", []logMeaning{
		{"uplink up", "the broker has acknowledged something"},
		{"uplink down",
			"`err` says why, and `retry_in` when it is tried again; an error if somebody has to fix it, such " +
				"as a wrong password"},
		{"uplink goes back to the server that is preferred", "it answers again"},
		{"uplink reconnects: the network was down",
			"the link came back before the agent knew that the connection was dead"},
		{"the kernel does not report when the network is back: attempts follow the back-off",
			"there is no netlink, as in some containers; a new connection takes up to a second longer"},
		{"no orders come: the broker's access list has to allow this client to read the topic",
			"the broker denies the subscription to `topic`: readings go on, outputs take no orders"},
		{"orders are refused: the key cannot be read",
			"`commands.key_file` does not exist, or other users may read it"},
		{"offline was not acknowledged: the broker publishes the will",
			"the stop was not acknowledged in time; `offline` comes all the " +
				"same"},
		{"the broker has accepted the connection",
			"with the version of MQTT and the broker's limits; logged again when these change"},
		{"the broker does not take MQTT 5: 3.1.1 is used, and 5 is tried again later",
			"with `mqtt.version: auto`; `why` is the broker's answer. 5 is tried again with the first " +
				"connection a day later (an hour later, if there was no answer). `mqtt.version: 3.1.1` never tries " +
				"5"},
		{"the broker keeps no retained messages: set mqtt.retain: false",
			"states are sent without the retain flag: see [brokers](brokers.md)"},
		{"a late will is corrected", "the broker noticed late that an earlier connection was dead"},
		{"another client uses …: give each a client_id of its own",
			"two agents end each other's connection; a copied card has the same `client_id`"},
		{"certificate expires soon: renew it",
			"`certificate` says which: the client's, the broker's or an authority's"},
		{"certificate has expired: renew it", "the next connection fails"},
	}},
	{"What the broker does not take", []logMeaning{
		{"the backlog is held: there is no proof that we may publish",
			"the broker acknowledges messages that its access list denies, and drops them; readings wait. " +
				"Allow the account to publish and read `CLIENT_ID/#`"},
		{"the backlog is held: the broker refuses what we publish", "with MQTT 5; `why` is the broker's reason. " +
			"Readings wait, and each stream is tried once a minute"},
		{"uplink may publish: the backlog goes out",
			"the problem is solved: the proof came back, or the broker accepted a reading"},
		{"a stream is held: the broker acknowledges its readings and does not forward them",
			"as above, for one stream"},
		{"a stream is held: the broker refuses its readings", "the same with MQTT 5"},
		{"the broker refuses a message: it is set aside and tried again in a day",
			"it is too large, or the broker does not accept its topic or payload: `holdfast queue export " +
				"-aside` prints it. `why` is the answer (MQTT 5), or how the last of three sessions ended: the " +
				"broker closed the connection, or stopped acknowledging"},
		{"the broker refuses one message after another of a stream: they are kept and tried again in a day",
			"the broker refused a second message of the stream"},
		{"the broker still refuses what is set aside", "the attempt after a day; the messages stay set aside"},
		{"the broker does not take a message about ourselves, and readings go on without it",
			"the agent's own message is too large, or its topic is not allowed: a shorter form is sent next, " +
				"and the whole one is tried again later"},
		{"the broker refuses a message about ourselves",
			"a state, or a message below `agent/`; the next one is still sent"},
		{"a stream has no subscriber at the broker",
			"with MQTT 5, if the broker reports it: the readings count as delivered. Check whether the " +
				"recorder is connected"},
		{"a stream has a subscriber again", "`unheard` readings had no subscriber"},
		{"it is not known any more whether a stream has a subscriber: MQTT 3.1.1 does not report it",
			"the broker spoke MQTT 5 until now, and reported that the stream had no subscriber"},
		{"the broker accepts a stream again: the kept readings are sent", "the problem is solved"},
		{"readings that the broker acknowledged may not have arrived",
			"those between the last proof and the failed one: they are declared as a gap with `why: unproven`"},
		{"the broker refuses each message of a stream: they are kept and tried again in a day", "its topic is not " +
			"allowed"},
		{"the broker refuses each state of a stream: it is not sent for a day",
			"its topic is not allowed, or the broker accepts no retained messages: see `mqtt.retain`"},
		{"the broker refuses a stream that it took: it is held again",
			"the access list changed during the drain"},
		{"the broker accepts a message that it refused before", "the problem is solved"},
		{"the broker closes the connection for the proof that we may publish: readings go without it", "allow this " +
			"account to publish and read `agent/canary`, or set `mqtt.prove_publish: false`"},
		{"the broker closes the connection when we subscribe to our own readings: they go without proof that they " +
			"arrive", "allow it to read what it publishes, or set `mqtt.prove_publish: false`"},
		{"a message about ourselves does not get through, and readings go on without it",
			"`topic` and `bytes` identify it; the cause is an access list, a size limit, or a path that loses " +
				"large packets"},
		{"a message about ourselves gets through again", "the problem is solved"},
		{"a message on a topic that we read is too large: it is not read for now",
			"another program publishes there"},
		{"what an earlier start left with the broker cannot be cleared",
			"an old state stays retained; `mosquitto_pub -r -n -t TOPIC` deletes it"},
		{"readings were too late for a plain payload, and were not sent",
			"`count` of them, because a plain payload cannot show that it is old; the event `skipped` names " +
				"their streams"},
		{"take-overs and late wills go unnoticed", "this account may not read `agent/status` or `agent/info`"},
		{"the announcement is not repeated when Home Assistant restarts",
			"this account may not read Home Assistant's status topic"},
	}},
	{"The embedded broker", []logMeaning{
		{"embedded broker: connection ended", "the reason why a client disconnected"},
		{"embedded broker: client disconnected", "the client read too slowly"},
		{"embedded broker: a message is not retained: too many are",
			"the limit of the embedded broker is reached: use a separate broker"},
	}},
	{"Updates", []logMeaning{
		{"is up to date", "the repository has no newer version"},
		{"installs", "a newer version; the previous one is kept"},
		{"keeps the new version", "it was ready, and the broker acknowledged one of its messages"},
		{"goes back to the version before", "the new version was not connected within ten minutes: `why`"},
		{"checks the version whose update was interrupted", "after a power cut during an update"},
		{"leaves out a version that did not deliver", "it will be tried again at `until`"},
		{"an old package was not removed", "it takes space in the state directory: delete it by hand"},
		{"no event tells of the update", "the agent could not be asked to send the event; only the log has it"},
	}},
	{"Doors", []logMeaning{
		{"the list of cards cannot be read: the door stays as it is",
			"`allow_file` does not exist, or one of its lines is wrong: `err` says which"},
		{"the door does not open by the list",
			"the card is on the list, but the output refused the order: `why`"},
		{"a card reader's value is not the number of a card",
			"the number must be an integer below 2⁵³: correct the program behind `kind: lines`"},
		{"cards come faster than the list is searched: one is left out",
			"somebody is trying many cards at the reader"},
	}},
}

var logEvents = []logMeaning{
	{"gap",
		"numbers that will never come: `stream`, `from`, `to`, `count` and `why` (`dropped`, `thinned`, " +
			"`damaged`, `aside`, `unproven`); a consumer need not wait for them"},
	{"storage", "`state` is `fails`, `hangs`, `works` or `damaged`: see the queue above"},
	{"quarantine",
		"the queue file was damaged: its intact part was copied into a new file, and the old file is kept"},
	{"fault", "a sensor, or a quantity of it, cannot be read: `error`"},
	{"recovered", "it can be read again, after `after_s` seconds; for an `output`: it is at its safe level"},
	{"output_fault", "the state of the output `output` is unknown: `error` says why; its state is `null`"},
	{"flapping",
		"a contact changes faster than `flapping` allows: its state is published at most once a minute " +
			"until it is quiet"},
	{"clock_step", "the wall clock was set by `by_ms`; earlier times are corrected if possible"},
	{"take_over", "another client uses our client ID: `other` is the boot of its birth"},
	{"command",
		"the result of an order by MQTT: `result`, and `why` it was not done; `count` if there were several"},
	{"access",
		"the list of cards on the node decided, because no back end answered: `result`, and `who` or `why`"},
	{"aside", "the broker refuses a message or a stream: `holdfast queue export -aside` prints it"},
	{"skipped",
		"readings that were too late for plain payloads and were not sent: `count`, `streams`, and the " +
			"times of the first and the last measurement, `first_ts` and `last_ts`"},
	{"unheard",
		"`began` is `true`: the broker has no subscriber for `stream` any more; `false`: it has one again, " +
			"after `count` readings. With `why`, the new broker does not report this"},
	{"unclean_start",
		"the previous start, number `last`, ended with a power cut, a crash or a kill: check the power " +
			"supply"},
	{"arming_file", "`state` is `damaged` (the panel is armed now, as `now` says), `unsaved` or `saved`: see the alarm " +
		"panel above"},
	{"arming_refused", "the key switch could not arm: `why`, such as `open: window`"},
	{"code_lock", "five wrong codes were entered: none is accepted for `for_s` seconds"},
	{"tripped", "a rule has begun: `rule`, and the `streams` that met its condition"},
	{"order_refused", "an `output` did not do an order of a rule or the panel: `by` and `why`"},
	{"update", "the result of an update: the present version, and why"},
}
