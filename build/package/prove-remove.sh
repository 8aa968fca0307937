# Sourced by build/package/prove: what remains after remove and purge.

say "remove and purge"
inside dpkg -r holdfast >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
check "it runs no more" test -z "$(inside pgrep holdfast)"
check "remove keeps the queue and the file" inside test -s /var/lib/holdfast/queue.db -a -s /etc/holdfast/config.yaml
inside dpkg -i /root/holdfast_9.0.2_amd64.deb >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
eventually 30 is_active
check "installed again, it runs with them" test "$(property ActiveState)" = active
inside dpkg -P holdfast >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
inside rm -r /srv/apt /etc/apt/sources.list.d/holdfast.sources /usr/share/keyrings/holdfast.gpg # created by these tests
leftover
check "nor its user" test -z "$(inside getent passwd holdfast)"
