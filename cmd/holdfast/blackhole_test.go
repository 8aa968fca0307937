package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const blackHoleEnv = "HOLDFAST_TEST_BLACK_HOLE"

// TestABlackHoleIsPassedInSmallPackets: between agent and broker a bridge drops packets of
// more than 1,000 bytes without an ICMP message. The birth message of 20 sensors is the
// first larger one. The test runs in its own network namespaces, which needs no privilege
// where user namespaces are allowed.
func TestABlackHoleIsPassedInSmallPackets(t *testing.T) {
	minutesLong(t, false)
	t.Parallel()
	if os.Getenv(blackHoleEnv) != "" {
		passBlackHole(t)
		return
	}
	inside := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	inside.Env = append(os.Environ(), blackHoleEnv+"=1")
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if out, err := inside.CombinedOutput(); err != nil {
		t.Errorf("in namespaces of its own: %v\n%s", err, out)
	}
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// startBeyond starts a broker in another namespace, behind the bridge.
func startBeyond(t *testing.T) {
	t.Helper()
	shell(t, `ip link set lo up
		ip link add near type veth peer name near1
		ip link add far type veth peer name far1
		ip link add between type bridge
		ip link set near1 master between up
		ip link set far1 master between mtu 1000 up
		ip link set between up
		ip link set near gso_max_segs 1 # a bridge lets through what is not cut into packets yet
		ip addr add 10.9.0.1/24 dev near
		ip link set near up`)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener 1883 10.9.0.2\nallow_anonymous true\nuser root\nmax_queued_messages 0\nlog_dest none\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := exec.Command("sh", "-c",
		"until ip -br addr show far 2>/dev/null | grep -q 10.9.0.2; do sleep 0.1; done; exec mosquitto -c "+conf)
	broker.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Process.Kill(); broker.Wait() })
	shell(t, fmt.Sprintf(`ip link set far netns %d
		nsenter -t %[1]d -n ip link set lo up
		nsenter -t %[1]d -n ip link set far up
		nsenter -t %[1]d -n ip addr add 10.9.0.2/24 dev far`, broker.Process.Pid))
}

func passBlackHole(t *testing.T) {
	startBeyond(t)
	const addr = "10.9.0.2:1883"
	sub := subscribe(t, addr, "store/#")
	a := newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\nsensors:\n%s",
			addr, twentySensors()))
	a.start()
	eventually(t, 3*time.Minute, "the log says what is lost", func() bool {
		return strings.Contains(a.log.String(), "large ones are lost without a word") &&
			strings.Contains(a.log.String(), "tcp_mtu_probing")
	})
	eventually(t, time.Minute, "the whole birth passes", func() bool {
		return strings.Contains(sub.last("store/agent/info").raw, "sensor_19")
	})
	eventually(t, time.Minute, "readings are live", func() bool {
		last := sub.last("store/load")
		return last.at.Sub(time.UnixMilli(last.TS)) < time.Second && time.Since(last.at) < time.Second
	})
	downs := strings.Count(a.log.String(), "uplink down")
	w := &wired{sub: sub, tap: newWiretap(0)}
	w.more(t, "load", 350) // this takes longer than one stall
	if more := strings.Count(a.log.String(), "uplink down") - downs; more > 0 {
		t.Errorf("%d more connections ended", more)
	}
	a.stop()
	w.checkComplete(t, "load")
}
