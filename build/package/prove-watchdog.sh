# Sourced by build/package/prove: each loop is made to hang.

say "the watchdog"
inside sh -c 'install -m 755 /root/hangs /usr/bin/holdfast
	mkdir -p /etc/systemd/system/holdfast.service.d
	printf "[Service]\nWatchdogSec=4s\n" >/etc/systemd/system/holdfast.service.d/prove.conf
	systemctl daemon-reload && systemctl restart holdfast'
for loop in "sensor load" "queue writer" "link"; do
	restarts=$(property NRestarts)
	inside sh -c "echo '$(property MainPID) $loop' >/run/holdfast-hang.new && chmod 644 /run/holdfast-hang.new &&
		mv /run/holdfast-hang.new /run/holdfast-hang"
	fired() { [ "$(property NRestarts)" -gt "$restarts" ]; }
	eventually 60 fired
	eventually 30 is_active
	eventually 30 logged "hangs: the watchdog is not fed.*$loop"
	check "'$loop' hung: the log names it, and the watchdog has fired" test "$(property NRestarts)" = $((restarts + 1))
done
eventually 30 logged 'Watchdog timeout'
sleep 8
check "it runs on afterwards" test "$(property ActiveState):$(property NRestarts)" = "active:$((restarts + 1))"
