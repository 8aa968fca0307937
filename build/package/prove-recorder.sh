# Sourced by build/package/prove: the recorder's package, from dpkg -i to purge, on a
# machine whose agent was removed.

unit=holdfast-recorder
install_deb() { inside dpkg -i "/root/$1_amd64.deb" >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"; }

say "the recorder: dpkg -i"
install_deb holdfast-recorder_9.0.1
check "it says what to do next" grep -q "one line, which says EDIT" "$work/dpkg"
check "nothing half configured runs" test "$(property ActiveState)" = inactive
check "the file as it comes is refused" test "$(inside holdfast-recorder check >/dev/null 2>&1; echo $?)" = 2
inside sed -i 's|server: ""|server: mqtt://127.0.0.1:1885|; s|# username|username|' /etc/holdfast/recorder.yaml
check "one line later it passes" inside holdfast-recorder check
check "manual pages are there" inside test -e /usr/share/man/man1/holdfast-recorder-verify.1.gz

say "the recorder: readings through Mosquitto with a password"
inside sh -c "mosquitto_passwd -b -c /etc/mosquitto/recorder recorder-1 s3cret && chmod 644 /etc/mosquitto/recorder
	printf 'listener 1885 127.0.0.1\npassword_file /etc/mosquitto/recorder\n' >/etc/mosquitto/recorder.conf
	mosquitto -d -c /etc/mosquitto/recorder.conf
	umask 077 && echo s3cret >/etc/holdfast/recorder.password"
listens() { inside ss -Hltn | grep 127.0.0.1:1885 >/dev/null; }
eventually 20 listens
inside systemctl enable -q --now holdfast-recorder
eventually 30 logged "connected.*session=new"
check "it runs as its user" test "$(inside ps -o user:32= -p "$(property MainPID)")" = holdfast-recorder
check "its database is its own" test "$(inside stat -c %a:%U /var/lib/holdfast-recorder)" = 750:holdfast-recorder
# As the recorder's user, as docs/recorder.md tells.
as_recorder() {
	inside setpriv --reuid holdfast-recorder --regid holdfast-recorder --init-groups "$@"
}
publish_reading() { # SEQ
	inside mosquitto_pub -h 127.0.0.1 -p 1885 -u recorder-1 -P s3cret -q 1 -t porch/humidity \
		-m "{\"ts\":1763640000123,\"boot\":\"1-9f3c02ab\",\"seq\":$1,\"value\":45.2,\"unit\":\"%\"}"
}
stored() { as_recorder holdfast-recorder export porch 2>/dev/null | grep "1-9f3c02ab,$1," >/dev/null; } # SEQ
publish_reading 1
eventually 30 stored 1
check "a reading is in the database" true

say "the recorder: upgrade, SIGKILL"
inside systemctl stop holdfast-recorder
publish_reading 2
install_deb holdfast-recorder_9.0.2
check "the new version is there" grep -q 9.0.2 <<<"$(inside holdfast-recorder version)"
eventually 30 stored 2
check "it runs, and what the broker kept is stored" stored 1
killed=$(property MainPID)
inside kill -KILL "$killed"
publish_reading 3
eventually 30 stored 3
check "after SIGKILL it runs again" test "$(property MainPID)" != "$killed"
check "nothing is missing" as_recorder holdfast-recorder verify porch

say "the recorder: the agent beside it, remove and purge"
install_deb holdfast_9.0.2
inside dpkg -P holdfast >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
check "a purge of the agent leaves the recorder's files" \
	inside test -s /etc/holdfast/recorder.yaml -a -s /etc/holdfast/recorder.password -a ! -e /etc/holdfast/config.yaml
inside systemctl restart holdfast-recorder
eventually 30 is_active
check "and the recorder reads them" as_recorder holdfast-recorder check
inside dpkg -r holdfast-recorder >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
check "it runs no more" test -z "$(inside pgrep holdfast)"
check "remove keeps the database and the file" \
	inside test -s /var/lib/holdfast-recorder/history.db -a -s /etc/holdfast/recorder.yaml
install_deb holdfast-recorder_9.0.2
eventually 30 is_active
check "installed again, it has the readings" stored 3
inside dpkg -P holdfast-recorder >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
leftover
check "nor its user" test -z "$(inside getent passwd holdfast-recorder)$(inside getent group holdfast)"
