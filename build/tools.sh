# Sourced by build/test and build/prove, at the root of the tree: what both need.

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
PATH=$PATH:/usr/sbin:/sbin # where Debian puts mosquitto

say() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# need COMMAND PACKAGE notes what is missing.
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }

# install_missing installs what need noted, as root or with sudo; else it says
# what is missing.
install_missing() {
	[ ${#missing[@]} -gt 0 ] || return 0
	local sudo=
	if [ "$(id -u)" != 0 ]; then
		sudo -n true 2>/dev/null || fail "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
		sudo=sudo
	fi
	say "install ${missing[*]}"
	$sudo apt-get -q update >/dev/null
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# install_tools installs what the tests and proofs run on.
install_tools() {
	command -v go >/dev/null || fail "Go is missing: https://go.dev/doc/install"
	need gcc gcc
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev) # the race detector links with cgo
	need git git
	need mosquitto mosquitto
	need openssl openssl # its TLS server, beside that of Go
	need avahi-daemon avahi-daemon
	need ip iproute2
	need rabbitmq-server rabbitmq-server
	[ -d /usr/lib/python3/dist-packages/paho ] || missing+=(python3-paho-mqtt)
	[ -d /usr/lib/python3/dist-packages/django ] || missing+=(python3-django)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql) # the recorder's larger database
	[ -d /usr/lib/python3/dist-packages/sqlalchemy ] || missing+=(python3-sqlalchemy) # the recipes
	[ -d /usr/lib/python3/dist-packages/psycopg2 ] || missing+=(python3-psycopg2)
	need influxd influxdb
	need victoria-metrics victoria-metrics
	need qemu-arm-static qemu-user-static
	need mkfs.ext4 e2fsprogs # a card of its own for the agent
	need fsfreeze util-linux
	need chromium chromium # the status page
	need promtool prometheus
	need npm npm # fetches axe-core
	need debootstrap debootstrap # a Debian to install the package into, and what looks at it
	need systemd-nspawn systemd-container
	need systemd-analyze systemd
	need lintian lintian
	need dpkg-parsechangelog dpkg-dev # reads the changelog of the package
	need apt-ftparchive apt-utils
	need gpg gnupg
	install_missing
}

# race is the flags of the race detector, empty where there is none. It would sleep
# a second at the end of each program. One processor, because Go 1.26 uses one race
# context for all timers of a synctest bubble, and two goroutines that receive from
# expired timers at once crash the detector (golang/go#78156). A race is still found:
# the detector compares the order of events, not times. Agents that a test starts as
# processes use all processors.
race="-race -cpu 1"
case $(go env GOARCH 2>/dev/null) in arm | riscv64) race= ;; esac
export GORACE=atexit_sleep_ms=0

# narrow are the packages that are also tested with 32 bits: those that lay out
# bytes, count, or talk to the kernel.
narrow=(./sensors/... ./queue/... ./uplink/... ./config)

# beside COMMAND... runs a command beside what follows; joined waits for it, prints
# its output, and fails if it failed. One at a time.
beside() {
	output=$(mktemp)
	set -m # a group of its own, which can be ended as one
	"$@" >"$output" 2>&1 &
	beside=$!
	set +m
}
joined() {
	local status=0
	wait $beside || status=$?
	beside=
	cat "$output"
	rm "$output"
	return $status
}

beside= output= fetching=
leave() {
	[ -z "$beside" ] || kill -- -$beside 2>/dev/null || true
	[ -z "$beside" ] || rm -f "$output"
	[ -z "$fetching" ] || kill $fetching 2>/dev/null || true
}
trap leave EXIT

# rig is empty where HOLDFAST_RIG=off leaves out the emulated machine; CI never does.
rig=on
[ "${HOLDFAST_RIG:-on}" != off ] || [ -n "${CI:-}" ] || rig=

# fetch_rig fetches in the background what the rig runs on; the rig itself says
# what went wrong.
fetch_rig() {
	[ "$rig" ] || return 0
	build/rig/fetch build/.cache/rig >/dev/null 2>&1 &
	fetching=$!
}

# run_rig [OPTION...] runs the rig when it has been fetched.
run_rig() {
	if [ -z "$rig" ]; then
		say "the rig is left out"
		return 0
	fi
	say "the rig $*"
	wait $fetching || true
	build/rig/run "$@"
}

# runs_386: whether this kernel runs programs of 32 bits.
runs_386() {
	local dir status=0
	dir=$(mktemp -d)
	printf 'package main\nfunc main() {}\n' >"$dir/main.go"
	CGO_ENABLED=0 GOARCH=386 go build -o "$dir/main" "$dir/main.go" && "$dir/main" 2>/dev/null || status=1
	rm -r "$dir"
	return $status
}
