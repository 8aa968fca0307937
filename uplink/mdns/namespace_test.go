package mdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const insideEnv = "HOLDFAST_TEST_MDNS_INSIDE" // a folder: this process is the one in the namespace

func TestMain(m *testing.M) {
	if dir := os.Getenv(insideEnv); dir != "" {
		if err := inside(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestLookupBesideARealAvahi asks a real avahi-daemon: over the network by IPv4 and IPv6,
// and at its socket. It runs in a network of its own, whose two ends are a pair
// of interfaces: avahi-daemon has home0, and we ask from field0.
func TestLookupBesideARealAvahi(t *testing.T) {
	for name, pack := range map[string]string{"avahi-daemon": "avahi-daemon", "ip": "iproute2", "mount": "mount"} {
		if _, err := lookPath(name); err != nil {
			t.Fatalf("%s is not installed: apt-get install %s, or run build/test", name, pack)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), insideEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 { // root of a namespace of users is enough
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var got map[string][]netip.Addr
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, &stderr)
	}
	for what, c := range inquiries {
		if !slices.Equal(got[what], c.want) {
			t.Errorf("%s: got %v, want %v\n%s", what, got[what], c.want, &stderr)
		}
	}
}

func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin"} { // where Debian puts daemons, for no PATH of a user
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

const neighbour = "porch-neighbour.local"

var inquiries = map[string]struct {
	Resolver
	want []netip.Addr
}{
	"both":          {Resolver{Bind: "field0", services: nobody}, addresses("192.168.7.1", "fd00:7::1")},
	"by IPv4":       {Resolver{Bind: "192.168.7.2", services: nobody}, addresses("192.168.7.1")},
	"by IPv6":       {Resolver{Bind: "fd00:7::2", services: nobody}, addresses("fd00:7::1")},
	"from anywhere": {Resolver{services: nobody}, addresses("192.168.7.1", "fd00:7::1")},
	"avahi's socket": {Resolver{Bind: "192.168.7.1", services: &services{avahiSocket, nobody.resolved, &hosts}},
		addresses("192.168.7.1")},
}

// inside runs in the namespaces, and prints what it finds.
func inside(dir string) error {
	stop, err := startAvahi(dir)
	if err != nil {
		return err
	}
	defer stop()
	found := map[string][]netip.Addr{}
	for what, c := range inquiries {
		found[what] = eventually(c.Resolver, neighbour, c.want)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// eventually asks until it gets what it wants: avahi-daemon announces itself
// first, and on a loaded machine one of two answers may come too late.
func eventually(r Resolver, host string, want []netip.Addr) (got []netip.Addr) {
	for range 10 {
		if got, _ = r.Lookup(context.Background(), host); slices.Equal(got, want) {
			break
		}
	}
	return got
}

// startAvahi makes the network and starts the daemon, as a user of this
// namespace and with its own /run.
func startAvahi(dir string) (stop func(), err error) {
	files := map[string]string{
		"passwd": "root:x:0:0::/:/bin/false\navahi:x:0:0::/:/bin/false\n",
		"group":  "root:x:0:\navahi:x:0:\n",
		"conf": "[server]\nhost-name=" + strings.TrimSuffix(neighbour, ".local") +
			"\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\nallow-interfaces=home0\n" +
			"[publish]\npublish-aaaa-on-ipv4=yes\npublish-a-on-ipv6=yes\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, line := range []string{
		"ip link set lo up",
		"ip link add home0 type veth peer name field0",
		"ip link set home0 up", "ip link set field0 up",
		"ip addr add 192.168.7.1/24 dev home0", "ip addr add fd00:7::1/64 dev home0 nodad",
		"ip addr add 192.168.7.2/24 dev field0", "ip addr add fd00:7::2/64 dev field0 nodad",
		"mount --make-rprivate /",
		"mount -t tmpfs tmpfs /run",
		"mount --bind " + dir + "/passwd /etc/passwd", "mount --bind " + dir + "/group /etc/group",
	} {
		args := strings.Fields(line)
		path, err := lookPath(args[0])
		if err != nil {
			return nil, err
		}
		if out, err := exec.Command(path, args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	path, err := lookPath("avahi-daemon")
	if err != nil {
		return nil, err
	}
	daemon := exec.Command(path, "-f", dir+"/conf", "--no-drop-root", "--no-chroot", "--no-rlimits")
	daemon.Stdout, daemon.Stderr = os.Stderr, os.Stderr
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	return func() { daemon.Process.Kill(); daemon.Wait() }, nil
}
