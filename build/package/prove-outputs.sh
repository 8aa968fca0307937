# Sourced by build/package/prove: a bell that rings while the agent is killed. A manual run
# can set bells to 50, which takes three minutes.

say "a bell, and SIGKILL while it rings"
inside sh -c 'cat >/usr/local/bin/bell && chmod 755 /usr/local/bin/bell' <<'END'
#!/bin/sh
while read -r told; do
	read -r uptime rest </proc/uptime
	echo "$told ${uptime%.*}${uptime#*.}0" >>/var/lib/holdfast/bell # milliseconds
done
END
inside tee -a /etc/holdfast/config.yaml >/dev/null <<'END'
rules:
  visitor: {when: {gate: open}, then: {bell: 5m}}
outputs:
  bell: {command: [/usr/local/bin/bell], max_on: 10m}
END
inside systemctl restart holdfast
bell() { inside cat /var/lib/holdfast/bell; }
rings() { [ "$(bell | tail -1 | cut -d' ' -f1)" = on ]; }
# silent AFTER tests whether the bell got an off after that line. The agent sends off more
# than once; the first one counts.
silent() { bell | tail -n +$(($1 + 1)) | grep -q '^off '; }
times=
for _ in $(seq "${bells:-10}"); do
	eventually 30 rings
	lines=$(bell | wc -l)
	# The time is taken in the machine, in the same command as the kill.
	before=$(inside sh -c "read -r uptime rest </proc/uptime; kill -KILL $(property MainPID); echo \${uptime%.*}\${uptime#*.}0")
	eventually 30 silent "$lines"
	times+=$(($(bell | tail -n +$((lines + 1)) | grep -m1 '^off ' | cut -d' ' -f2) - before))$'\n'
	eventually 30 is_active
done
times=$(sort -n <<<"${times%$'\n'}")
median=$(sed -n "$((${bells:-10} / 2 + 1))p" <<<"$times")
# The host may be busy, so the median counts and is printed.
check "off each of ${bells:-10} times, $median ms after SIGKILL, at the latest $(tail -1 <<<"$times") ms" \
	test "$median" -lt 1000

say "a bell, and systemctl stop while it rings"
eventually 30 rings
inside systemctl stop holdfast
check "it is off" test "$(bell | tail -1 | cut -d' ' -f1)" = off
lines=$(bell | wc -l)
check "outputs safe needs no agent" inside setpriv --reuid holdfast --regid holdfast --init-groups holdfast outputs safe
check "and tells the output" test "$(bell | tail -n +$((lines + 1)) | cut -d' ' -f1 | tail -1)" = off
inside systemctl start holdfast
eventually 30 is_active
inside sh -c 'sed -i "/^rules:/,\$d" /etc/holdfast/config.yaml && systemctl restart holdfast && rm /var/lib/holdfast/bell'
eventually 30 is_active
