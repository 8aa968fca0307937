# Sourced by build/test and build/prove, at the root of the tree: what both of them use.

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
PATH=$PATH:/usr/sbin:/sbin # Debian installs mosquitto there

say() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# need COMMAND PACKAGE notes the package if the command is missing.
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }

# install_missing installs the missing packages, as root or with sudo; without either it
# prints their names and fails.
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

# install_tools installs what the tests and proofs need.
install_tools() {
	command -v go >/dev/null || fail "Go is missing: https://go.dev/doc/install"
	need gcc gcc
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev) # the race detector links with cgo
	need git git
	need mosquitto mosquitto
	need openssl openssl # the tests use its TLS server and that of Go
	need avahi-daemon avahi-daemon
	need ip iproute2
	need rabbitmq-server rabbitmq-server
	[ -d /usr/lib/python3/dist-packages/paho ] || missing+=(python3-paho-mqtt)
	[ -d /usr/lib/python3/dist-packages/django ] || missing+=(python3-django)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql) # the recorder's second database
	[ -d /usr/lib/python3/dist-packages/sqlalchemy ] || missing+=(python3-sqlalchemy) # the recipes
	[ -d /usr/lib/python3/dist-packages/psycopg2 ] || missing+=(python3-psycopg2)
	need influxd influxdb
	need victoria-metrics victoria-metrics
	need qemu-arm-static qemu-user-static
	need mkfs.ext4 e2fsprogs # a separate file system for the agent
	need fsfreeze util-linux
	need chromium chromium # the status page
	need promtool prometheus
	need npm npm # fetches axe-core
	need debootstrap debootstrap # a Debian system to install the package into
	need systemd-nspawn systemd-container
	need systemd-analyze systemd
	need lintian lintian
	need dpkg-parsechangelog dpkg-dev # reads the changelog of the package
	need apt-ftparchive apt-utils
	need gpg gnupg
	install_missing
}

# race has the flags of the race detector; empty if there is none for this processor.
# atexit_sleep_ms saves a second at the end of each program. One processor, because Go 1.26
# uses one race context for all timers of a synctest bubble, and two goroutines that
# receive from expired timers at the same time crash the detector (golang/go#78156). Races
# are still found: the detector compares the order of events, not times. Agents that a test
# starts as processes use all processors.
race="-race -cpu 1"
case $(go env GOARCH 2>/dev/null) in arm | riscv64) race= ;; esac
export GORACE=atexit_sleep_ms=0

# tested_32bit are the packages that are also tested with 32 bits: those with binary
# formats, counters, or system calls.
tested_32bit=(./sensors/... ./queue/... ./uplink/... ./config)

# in_background COMMAND... runs a command in the background; wait_background waits for it,
# prints its output, and fails if it failed. Only one can run at a time.
in_background() {
	output=$(mktemp)
	set -m # a separate process group, which cleanup can kill as a whole
	"$@" >"$output" 2>&1 &
	background=$!
	set +m
}
wait_background() {
	local status=0
	wait $background || status=$?
	background=
	cat "$output"
	rm "$output"
	return $status
}

background= output= fetching=
cleanup() {
	[ -z "$background" ] || kill -- -$background 2>/dev/null || true
	[ -z "$background" ] || rm -f "$output"
	[ -z "$fetching" ] || kill $fetching 2>/dev/null || true
}
trap cleanup EXIT

# rig is empty if HOLDFAST_RIG=off disables the emulated machine; CI never does.
rig=on
[ "${HOLDFAST_RIG:-on}" != off ] || [ -n "${CI:-}" ] || rig=

# fetch_rig downloads in the background what the rig needs; build/rig/run reports errors.
fetch_rig() {
	[ "$rig" ] || return 0
	build/rig/fetch build/.cache/rig >/dev/null 2>&1 &
	fetching=$!
}

# run_rig [OPTION...] runs the rig after the download.
run_rig() {
	if [ -z "$rig" ]; then
		say "the rig is left out"
		return 0
	fi
	say "the rig $*"
	wait $fetching || true
	build/rig/run "$@"
}

# runs_386 tests whether this kernel runs 32-bit programs.
runs_386() {
	local dir status=0
	dir=$(mktemp -d)
	printf 'package main\nfunc main() {}\n' >"$dir/main.go"
	CGO_ENABLED=0 GOARCH=386 go build -o "$dir/main" "$dir/main.go" && "$dir/main" 2>/dev/null || status=1
	rm -r "$dir"
	return $status
}
