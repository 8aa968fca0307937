# Sourced by build/package/prove: a Debian machine in a container, with its own systemd,
# processes and network. It needs root.

root=$PWD/build/.cache/package-root # a clean Debian system, kept between runs
machine=                       # the folder of the running machine

# make_root creates the Debian system that machines start from.
make_root() {
	[ ! -e "$root/.complete" ] || return 0
	rm -rf "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase \
		--include=systemd,systemd-sysv,udev,mosquitto,mosquitto-clients,iproute2,procps,gpgv \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >"$root.log" 2>&1 ||
		fail "debootstrap: $(tail -5 "$root.log")"
	# debootstrap may leave /proc mounted, and tests that walk this tree would read it.
	! mountpoint -q "$root/proc" || umount "$root/proc"
	# Tests start the broker when they need it. A container has no firmware and no console.
	ln -sf /dev/null "$root/etc/systemd/system/mosquitto.service"
	touch "$root/.complete"
}

# boot starts a machine on a copy of the root, which is discarded afterwards. Its only
# network is loopback.
boot() {
	machine=$(mktemp -d)
	mount -t tmpfs -o size=2g machine "$machine"
	mkdir "$machine"/{root,upper,work}
	mount -t overlay machine -o "lowerdir=$root,upperdir=$machine/upper,workdir=$machine/work" "$machine/root"
	systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --console=pipe \
		-D "$machine/root" </dev/null >"$machine/console" 2>&1 &
	nspawn=$!
	local i
	for i in $(seq 300); do
		leader=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null || true)
		leader=${leader%% *}
		if [ "$leader" ] && [ "$(inside systemctl is-system-running 2>/dev/null)" = running ]; then
			return 0
		fi
		kill -0 "$nspawn" || break
		sleep 0.2
	done
	fail "the machine does not start: $(cat "$machine/console")"
}

# inside runs a command in the machine.
inside() { nsenter -t "$leader" -a -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb "$@"; }

# shut_down stops the machine and removes its copy.
shut_down() {
	[ "$machine" ] || return 0
	kill "$nspawn" 2>/dev/null || true # an orderly shutdown
	wait "$nspawn" 2>/dev/null || true
	umount "$machine/root" "$machine"
	rmdir "$machine"
	machine=
}

# eventually SECONDS COMMAND... waits until a command succeeds.
eventually() {
	local end=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$end" ] || fail "never came true: $*: $(inside journalctl -u "$unit" -n 30 --no-pager -o cat)"
		sleep 0.2
	done
}

unit=holdfast # the unit whose state and log the functions below use

# property NAME prints a property of the unit.
property() { inside systemctl show "$unit" -P "$1"; }

# logged PATTERN tests whether the unit's log has a matching line. grep reads all of the
# log, because journalctl fails if its output is closed early.
logged() { inside journalctl -u "$unit" -o cat | grep -e "$1" >/dev/null; }

is_active() { [ "$(property ActiveState):$(property SubState)" = active:running ]; }

# leftover fails if files remain after a purge.
leftover() {
	local left
	left=$(inside find / -xdev -path /proc -prune -o -path /sys -prune -o -path /root -prune -o -path /var/log -prune -o \
		-path /var/lib/systemd -prune -o -name '*holdfast*' -print)
	[ -z "$left" ] || fail "purge leaves $left"
	check "purge leaves nothing" true
}

# check TEXT COMMAND... runs a command, prints TEXT, and fails if the command does.
check() {
	local text=$1
	shift
	"$@" || fail "$text: no: $*"
	echo "ok: $text"
}
