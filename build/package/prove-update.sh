# Sourced by build/package/prove: an update that delivers is kept, one that does not is
# reverted. The broker of prove-install.sh is running.

say "updates from a signed repository"
export GNUPGHOME=$work/gnupg
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key builder@example.org
inside dpkg -i /root/holdfast_9.0.1_amd64.deb >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
publish() { # VERSION...
	local all=(dist/*) version
	mkdir -p "$work/aside"
	mv dist/*.deb "$work/aside"
	for version in "$@"; do
		cp "$work/aside/holdfast_${version}_amd64.deb" dist/
	done
	build/repository -u file:///srv/apt -k builder@example.org "$machine/root/srv/apt" >/dev/null
	mv "$work"/aside/*.deb dist/
}
publish 9.0.1 9.0.2
inside sh -c 'cp /srv/apt/holdfast.gpg /usr/share/keyrings/ && rm -f /etc/apt/sources.list.d/* /etc/apt/sources.list
	cp /srv/apt/holdfast.sources /etc/apt/sources.list.d/'
check "the timer is off" test "$(inside systemctl is-enabled holdfast-update.timer)" = disabled
connected() {
	grep -q "^connected to" <<<"$(property StatusText)" &&
		inside holdfast status -json | grep '"round_trip_s":0\.' >/dev/null
}
eventually 60 connected
inside systemctl start holdfast-update.service || fail "$(inside journalctl -u holdfast-update -o cat --no-pager)"
check "a version that delivers stays" grep -q 9.0.2 <<<"$(inside holdfast version)"
event() { inside grep -q "\"event\":\"update\".*$1" /root/event; }
eventually 30 event '"from":"9.0.1","to":"9.0.2","result":"kept"'
check "the event says so" true

publish 9.0.3
inside mkdir -p /etc/systemd/system/holdfast-update.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/holdfast update -wait 20s\n' |
	inside tee /etc/systemd/system/holdfast-update.service.d/prove.conf >/dev/null
inside systemctl daemon-reload
eventually 60 connected
if inside systemctl start holdfast-update.service; then
	fail "9.0.3 cannot connect, and was kept"
fi
check "one that does not deliver goes back" grep -q 9.0.2 <<<"$(inside holdfast version)"
eventually 60 connected
eventually 30 event '"from":"9.0.2","to":"9.0.3","result":"returned"'
check "the event says so" true
inside systemctl start holdfast-update.service
check "it is left out from then on" grep -q 9.0.2 <<<"$(inside holdfast version)"
