# Sourced by build/package/prove: from dpkg -i to an upgrade with a backlog.

say "dpkg -i"
inside dpkg -i /root/holdfast_9.0.1_amd64.deb >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
check "it says what to do next" grep -q "two lines, which say EDIT" "$work/dpkg"
check "nothing half configured runs" test "$(property ActiveState)" = inactive
check "secrets are for root and the agent" test "$(inside stat -c %a:%U:%G /etc/holdfast)" = 750:root:holdfast
check "its user has the groups of the devices" test "$(inside id -Gn holdfast)" = "holdfast video gpio i2c"
check "the file as it comes is refused" test "$(inside holdfast check >/dev/null 2>&1; echo $?)" = 2
inside sed -i 's|server: ""|server: mqtt://127.0.0.1:1883|; s|gpio: ""|gpio: GPIO17|' /etc/holdfast/config.yaml
check "two lines later it passes" inside holdfast check
check "manual pages are there" inside test -e /usr/share/man/man1/holdfast-queue.1.gz

say "the first start, without a network"
inside tee -a /etc/holdfast/config.yaml >/dev/null <<'END'
queue: {sync_every: 1s}
END
inside sed -i '/^sensors:/a \  load: {kind: simulated, counter: {}, every: 100ms}' /etc/holdfast/config.yaml
inside sed -i '/^sensors:/a \  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}' \
	/etc/holdfast/config.yaml
inside sh -c 'umask 077 && echo s3cret >/etc/holdfast/mqtt.password'
inside systemctl enable -q --now holdfast
check "it runs as its user" test "$(inside ps -o user= -p "$(property MainPID)")" = holdfast
# The host may be busy, so the best of three counts.
started() {
	inside systemctl restart holdfast
	echo $(($(property ActiveEnterTimestampMonotonic) - $(property ExecMainStartTimestampMonotonic)))
}
took=$(printf '%s\n' "$(started)" "$(started)" "$(started)" | sort -n | head -1)
check "READY after $((took / 1000)) ms, less than a second" test "$took" -lt 1000000
check "no port is open" test -z "$(inside ss -Hltun)"
check "the state in words: $(property StatusText)" grep -q "not connected" <<<"$(property StatusText)"
check "the credential is passed on" inside test -s /run/credentials/holdfast.service/mqtt.password

say "SIGHUP"
inside systemctl reload holdfast
eventually 20 is_active
inside sed -i 's/^mqtt:/mqqt:/' /etc/holdfast/config.yaml
inside systemctl reload holdfast
eventually 20 logged "configuration not changed"
eventually 20 is_active
check "a file that is wrong changes nothing" test "$(property ActiveState):$(property SubState)" = active:running
inside sed -i 's/^mqqt:/mqtt:/' /etc/holdfast/config.yaml

say "SIGKILL"
backlog() { inside holdfast queue stats -json | grep -o '"backlog":[0-9]*' | head -1 | cut -d: -f2; }
restarted() { [ "$(property MainPID)" != "$killed" ] && is_active; }
best=
for _ in 1 2 3; do
	sleep 2
	killed=$(property MainPID)
	before=$(cut -d' ' -f1 /proc/uptime | tr -d .)0000 # microseconds, on the same clock as systemd's timestamps
	inside kill -KILL "$killed"
	eventually 30 restarted
	took=$(($(property ActiveEnterTimestampMonotonic) - before))
	[ "$best" ] && [ "$best" -le "$took" ] || best=$took
done
check "it is back after $((best / 1000)) ms, less than 2 s" test "$best" -lt 2000000

say "an upgrade with a backlog"
kept=$(backlog)
inside dpkg -i /root/holdfast_9.0.2_amd64.deb >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
eventually 30 is_active
check "the new version runs" grep -q 9.0.2 <<<"$(inside holdfast version)"
check "the file is the one of before" inside grep -q 'gpio: GPIO17' /etc/holdfast/config.yaml
check "a backlog of $kept has become $(backlog)" test "$(backlog)" -ge "$kept"

say "the broker comes, and takes it"
inside systemctl stop holdfast # the subscribers have to connect first
client=holdfast-$(inside cat /proc/sys/kernel/hostname)
inside sh -c "mosquitto_passwd -b -c /etc/mosquitto/users $client s3cret && chmod 644 /etc/mosquitto/users
	printf 'listener 1883 127.0.0.1\npassword_file /etc/mosquitto/users\nmax_queued_messages 0\n' \
		>/etc/mosquitto/prove.conf
	mosquitto -d -c /etc/mosquitto/prove.conf"
listens() { inside ss -Hltn | grep -q 127.0.0.1:1883; }
eventually 20 listens
for stream in gate agent/event; do
	inside sh -c "stdbuf -oL mosquitto_sub -h 127.0.0.1 -d -q 1 -i reader-${stream#*/} -u $client -P s3cret \
		-t $client/$stream >/root/${stream#*/} 2>&1 &"
	eventually 20 inside grep -q Subscribed "/root/${stream#*/}"
done
inside systemctl start holdfast
drained() { grep -q "^connected to" <<<"$(property StatusText)" && [ "$(backlog)" -le 30 ]; }
eventually 60 drained
# The kill has lost no alarm: the numbers of each start have no hole.
inside cat /root/gate >"$work/heard"
holes() {
	sed -n 's/.*"boot":"\([^"]*\)","seq":\([0-9]*\).*/\1 \2/p' "$work/heard" | sort -u |
		awk '{n[$1]++; if ($2 > max[$1]) max[$1] = $2}
			END {for (b in n) {print b, n[b], max[b]; bad += max[b] - n[b]} exit bad > 0}'
}
holes >"$work/boots" || fail "alarms are missing: $(cat "$work/boots")"
check "all alarms of $(wc -l <"$work/boots") starts have arrived" test "$(wc -l <"$work/boots")" -ge 3
