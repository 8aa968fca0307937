package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A planted fault is simulated, and has to be the only finding, with its remedy.
type planted struct {
	fault *Fault
	plant func(*bench)
	says  string // a part of its text that no other fault has
}

// localFaults need no broker.
var localFaults = []planted{
	{configWarning, func(b *bench) {
		b.Config.Warnings = config.Errors{{File: "porch.yaml", Text: "every user of this machine can write this file"}}
	}, "every user"},
	{secretBroken, func(b *bench) {
		b.plant("mqtt.password", "s3cret\n")
		b.chmod("mqtt.password", 0o644)
		b.configure("server: \"embedded\", embedded: {listen: \"127.0.0.1:1883\", password_file: " +
			b.path("mqtt.password") + "}")
	}, "is open to every user"},
	{secretBroken, func(b *bench) {
		b.Config.Uplink.Commands.Key = mqtt.Secret{File: b.path("orders.key"), Key: "commands.key_file"}
	}, "commands.key_file"},
	{secretBroken, func(b *bench) {
		b.plant("codes", "anna:1234\n")
		b.Config.Arming = &arming.Options{CodesFile: b.path("codes")}
	}, "codes: line 1: is not a code"},
	{secretBroken, func(b *bench) {
		b.plant("cards", "anna:1234\n")
		b.Config.Access = []access.Spec{{Name: "lock", AllowFile: b.path("cards")}}
	}, "cards: line 1: is not pbkdf2-sha256"},
	{secretBroken, func(b *bench) {
		line, err := arming.NewLine("anna", "4711")
		if err != nil {
			b.t.Fatal(err)
		}
		b.plant("codes", line+"\n")
		b.chmod("codes", 0o644)
		b.Config.Arming = &arming.Options{CodesFile: b.path("codes")}
	}, "is open to every user"},
	{agentDisk, func(b *bench) { b.Agent = running(status.Queue{Failing: true}) }, "process 812"},
	{agentAway, func(b *bench) {
		b.Agent = running(status.Queue{})
		b.Agent.Link = status.Link{Error: "connection refused"}
	}, "no session with a broker: connection refused"},
	{agentRival, func(b *bench) {
		b.Agent = running(status.Queue{})
		b.Agent.Events = []status.Event{{Name: "gap"}, {Name: "take_over"}, {Name: "take_over"}}
	}, "client ID porch: 2 of"},
	{agentSensor, func(b *bench) {
		b.Agent = running(status.Queue{})
		b.Agent.Streams = []status.Stream{{Name: "door"}, {Name: "room_humidity", Error: "i2c-1 0x38: no acknowledge"}}
	}, "cannot read room_humidity: i2c-1 0x38"},
	{agentOutput, func(b *bench) {
		b.Agent = running(status.Queue{})
		failed := status.Output{Name: "valve", State: status.Unknown, Error: "i2c-1 0x20: no acknowledge"}
		b.Agent.Outputs = []status.Output{{Name: "siren", State: status.On}, failed}
		b.Agent.Streams = []status.Stream{{Name: "valve", Error: failed.Error}} // it is reported once
	}, "whether output valve is on: i2c-1 0x20"},
	{agentHeld, func(b *bench) {
		b.Agent = running(status.Queue{})
		b.Agent.Link.Held = "nothing heard of it in 15s"
	}, "holds its backlog"},
	{agentOrders, func(b *bench) {
		b.Agent = running(status.Queue{})
		b.Agent.Link.NoOrders = "the broker denies to read porch/siren/set"
	}, "gets no orders: the broker denies to read porch/siren/set"},
	{agentAside, func(b *bench) { b.Agent = running(status.Queue{Aside: 3}) }, "refuses 3 readings"},

	{noChip, func(b *bench) {
		b.Chips = func() ([]gpio.Chip, []error) { return gpio.Chips(&b.Hardware.Host) }
	}, "needed by door"},
	{chipDenied, func(b *bench) {
		b.Chips = func() ([]gpio.Chip, []error) {
			return nil, []error{fmt.Errorf("%w: join",
				&fs.PathError{Op: "open", Path: "/dev/gpiochip0", Err: syscall.EACCES})}
		}
	}, "may not open /dev/gpiochip0"},
	{chipBroken, func(b *bench) {
		b.Chips = func() ([]gpio.Chip, []error) {
			return []gpio.Chip{soc()}, []error{fmt.Errorf("/dev/gpiochip1: is it a GPIO chip? %w", syscall.ENOTTY)}
		}
	}, "gpiochip1"},
	{noLine, func(b *bench) {
		b.Chips = func() ([]gpio.Chip, []error) {
			c := soc()
			c.Lines = c.Lines[:10]
			return []gpio.Chip{c}, nil
		}
	}, "GPIO17: no such line"},
	{lineHeld, func(b *bench) {
		b.line(17, "w1-gpio", uapi.LineFlagV2Used|uapi.LineFlagV2Input)
	}, `door: GPIO17 is held by "w1-gpio"`},

	{lineHeld, func(b *bench) {
		b.siren("gpio=22=op,dh\n")
		b.line(22, "other-alarm", uapi.LineFlagV2Used|uapi.LineFlagV2Output)
	}, `siren: GPIO22 is held by "other-alarm"`},

	{outputKept, func(b *bench) {
		b.siren("gpio=22=op,dh\n")
		b.plant("sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs", "Y\n")
		b.line(22, "", uapi.LineFlagV2Output) // the line of an output at its safe level is no fault
	}, "keeps the level of siren when the agent crashes"},
	{outputFloats, func(b *bench) { b.siren("gpio=20,23=op,dh\n") }, "siren: GPIO22 is an input until the agent starts"},
	{outputBootsOn, func(b *bench) { b.siren("gpio=22=op,dh\n[all]\ngpio=20-23=op,dl\n") },
		"has GPIO22 low until the agent starts, and its safe level is high"},

	{noBus, func(b *bench) { b.remove("dev/i2c-1") }, "needed by room"},
	{noOtherBus, func(b *bench) { b.replace("i2c-1", `i2c: "1"`, `i2c: "4"`) }, "i2c-4"},
	{addressHeld, func(b *bench) {
		b.plant("sys/bus/i2c/drivers/aht10/x", "")
		b.link("sys/bus/i2c/drivers/aht10", "sys/bus/i2c/devices/1-0038/driver")
	}, "driver aht10 has i2c-1 0x38"},

	{noOneWire, func(b *bench) { b.remove("sys/bus/w1") }, "needed by freezer"},
	{noPart, func(b *bench) {
		b.remove("sys/bus/w1/devices/28-0316a2797bff")
		b.plant("sys/bus/w1/devices/28-000000000001/x", "")
	}, "which has 28-000000000001"},
	{noSerial, func(b *bench) { b.remove("dev/ttyUSB0") }, "needed by meter"},
	{sensorFails, func(b *bench) {
		b.Open = func(_ context.Context, spec sensors.Spec) (sensors.Sensor, error) {
			if spec.Name == "room" {
				return nil, errors.New("i2c-1 0x38: no acknowledge")
			}
			return steady{spec}, nil
		}
	}, "room cannot be read: i2c-1 0x38: no acknowledge"},

	{folderOverlay, func(b *bench) {
		b.plant("proc/self/mountinfo",
			"22 1 0:20 / / rw - overlay overlay rw,lowerdir=/lower,upperdir=/overlay/upper,workdir=/overlay/work\n"+
				"30 22 0:31 / /overlay rw - tmpfs tmpfs rw\n")
	}, "keeps its changes in memory"},
	{folderContainer, func(b *bench) {
		b.plant("proc/self/mountinfo",
			"22 1 0:20 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/docker/overlay2/c0/diff\n")
	}, "overlay of a container"},
	{folderNetwork, func(b *bench) { b.mounted("nfs4", b.path("state"), "rw") }, "network file system (nfs4)"},
	{folderReadOnly, func(b *bench) { b.mounted("ext4", b.dir, "ro") }, "is read-only"},
	{otherOwner, func(b *bench) { b.backlog("state/queue.db", "attic") }, "client ID attic, and this node is porch"},
	{otherAside, func(b *bench) {
		b.backlog("state/queue.db.of-attic-20260101T000000.000", "attic")
	}, "a backlog of client ID attic lies in"},
	{fileUnreadable, func(b *bench) { b.plant("state/queue.db", strings.Repeat("no queue", 2000)) }, "queue.db"},
	{fileDamaged, func(b *bench) { b.damage() }, "blocks of the queue's file"},

	{clockUnsynced, func(b *bench) { b.clock(clock.Unsynced) }, "no time source confirms the clock"},
	{clockEstimated, func(b *bench) { b.clock(clock.Estimated) }, "accurate to minutes"},
	{zoneFile, func(b *bench) { b.plant("zoneinfo/Etc/UTC", "this is no zone") }, "is not a time zone"},
	{zonesDiffer, func(b *bench) { b.plant("etc/timezone", "Asia/Tokyo\n") }, "Asia/Tokyo"},

	{watchdogOff, func(b *bench) { b.plant("sys/class/watchdog/watchdog0/state", "inactive\n") }, "watchdog is off"},
	{underVoltageNow, func(b *bench) { b.plant("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n") }, "supply is below"},
	{underVoltageSeen, func(b *bench) {
		b.plant("sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled", "50000\n")
	}, "has been below"},
	{outputPersists, func(b *bench) { b.line(22, "", uapi.LineFlagV2Output) }, "GPIO22 is driven"},
	{cardWorn, func(b *bench) { b.plant("sys/block/mmcblk0/device/life_time", "0x02 0x0b\n") }, "life_time 0x02 0x0b"},
	{cardWearing, func(b *bench) { b.plant("sys/block/mmcblk0/device/pre_eol_info", "0x02\n") }, "pre_eol_info 0x02"},
	{unitFailed, func(b *bench) { b.unit("failed", "enabled", "exit-code") }, "has failed (exit-code)"},
	{unitDisabled, func(b *bench) { b.unit("active", "disabled", "success") }, "not enabled"},
	{unitStopped, func(b *bench) { b.unit("inactive", "enabled", "success") }, "does not run"},
}

// brokerFaults need a real broker, or a simulated one.
var brokerFaults = []planted{
	{secretOdd, func(b *bench) {
		b.plant("mqtt.password", "s3cret \n")
		b.configure("server: \"mqtt://" + startMosquitto(b.t, "allow_anonymous true\nsys_interval 0") +
			"\", password_file: " + b.path("mqtt.password"))
	}, "begins or ends with a blank"},
	{nameUnknown, func(b *bench) {
		b.LookUp = func(context.Context, *url.URL) ([]netip.Addr, time.Duration, error) {
			return nil, 0, &net.DNSError{Err: "no such host", Name: "127.0.0.1", IsNotFound: true}
		}
	}, "there is no such name"},
	{nameFails, func(b *bench) {
		b.LookUp = func(context.Context, *url.URL) ([]netip.Addr, time.Duration, error) {
			return nil, 0, &net.DNSError{Err: "server misbehaving", Name: "127.0.0.1", IsTemporary: true}
		}
	}, "server misbehaving"},
	{nameSlow, func(b *bench) {
		b.LookUp = func(ctx context.Context, server *url.URL) ([]netip.Addr, time.Duration, error) {
			addrs, err := b.Config.Uplink.LookUp(ctx, server)
			return addrs, 5 * time.Second, err
		}
	}, "takes 5s"},
	{portRefused, func(b *bench) { b.server(freeAddr(b.t)) }, "nothing listens at 127.0.0.1"},
	{portSilent, func(b *bench) { b.server(blackHole(b.t, [4]byte{127, 0, 0, 1}, 0)) }, "no answer from 127.0.0.1"},
	{portFails, func(b *bench) {
		b.LookUp = func(context.Context, *url.URL) ([]netip.Addr, time.Duration, error) {
			return []netip.Addr{netip.MustParseAddr("240.0.0.1")}, 0, nil
		}
		b.Config.Uplink.Bind = "no-such-interface"
	}, "no-such-interface"},
	{addressFails, func(b *bench) {
		_, port, _ := net.SplitHostPort(b.Config.Uplink.Servers[0].Host)
		n := 0
		fmt.Sscan(port, &n)
		blackHole(b.t, [4]byte{127, 0, 0, 2}, n)
		b.LookUp = func(context.Context, *url.URL) ([]netip.Addr, time.Duration, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, 0, nil
		}
	}, "127.0.0.2 does not answer"},

	{tlsExpired, func(b *bench) { b.secure(x509.Certificate{NotBefore: ago(48), NotAfter: ago(24)}) }, "has expired"},
	{tlsEarly, func(b *bench) {
		b.secure(x509.Certificate{NotBefore: ago(-24), NotAfter: ago(-999)})
	}, "is valid from"},
	{certExpires, func(b *bench) { b.secure(x509.Certificate{NotBefore: ago(48), NotAfter: ago(-100)}) }, "in 4 days"},
	{tlsName, func(b *bench) { b.secure(x509.Certificate{DNSNames: []string{"broker.example.com"}}) },
		"is for broker.example.com"},
	{tlsIssuer, func(b *bench) {
		addr := newAuthority(b.t).broker(b.t, x509.Certificate{})
		b.configure(fmt.Sprintf("server: \"mqtts://%s\", tls: {ca: %s}", addr, newAuthority(b.t).path("ca.pem")))
	}, "is issued by CN=ca"},
	{tlsNone, func(b *bench) {
		b.configure(fmt.Sprintf("server: \"mqtts://%s\"", b.Config.Uplink.Servers[0].Host))
	}, "does not speak TLS"},
	{tlsFails, func(b *bench) {
		b.configure(fmt.Sprintf("server: \"mqtts://%s\"", silentServer(b.t)))
	}, "no TLS connection"},

	{idTaken, func(b *bench) {
		other := otherClient(b.t, b.Site)
		if err := await(b.t.Context(), other, other.Publish(statusOf("online"))); err != nil {
			b.t.Fatal(err)
		}
	}, "the client ID porch"},
	{loginRefused, func(b *bench) {
		b.server(startMosquitto(b.t, "allow_anonymous false\nsys_interval 0"))
		b.Config.Uplink.Username = "porch"
	}, "refuses user porch"},
	{loginNobody, func(b *bench) {
		b.server(startMosquitto(b.t, "allow_anonymous false\nsys_interval 0"))
	}, "without user name and password"},
	{loginQoS, func(b *bench) { b.fake(&fakeBroker{connack: []byte{0x24, 0}}) }, "takes messages at QoS 0 alone"},
	{loginFails, func(b *bench) { b.server(silentServer(b.t)) }, "no session"},

	{canaryDenied, func(b *bench) {
		b.acl("topic read porch/#\ntopic readwrite porch/agent/status")
	}, "refuses what this account publishes to porch/agent/canary: the broker refuses it (code 135)"},
	{canaryLost, func(b *bench) {
		b.acl("topic read porch/#\ntopic readwrite porch/agent/status")
		b.Config.Uplink.Protocol = mqtt.V311
	}, "does not deliver"},
	{canaryUnread, func(b *bench) { b.fake(&fakeBroker{denies: true}) }, "does not let this account read"},
	{canaryCloses, func(b *bench) {
		b.fake(&fakeBroker{closes: func(topic string, _ bool) bool { return topic == "porch/agent/canary" }})
	}, "closes the connection when"},
	{retainCloses, func(b *bench) {
		b.fake(&fakeBroker{closes: func(_ string, retained bool) bool { return retained }})
	}, "closes the connection for a retained"},
	{ordersDenied, func(b *bench) {
		b.fake(&fakeBroker{private: "porch/alarm/set"}) // Mosquitto 2 accepts every subscription, and sends nothing
		b.Config.Uplink.Commands = uplink.Commands{Outputs: []string{"siren"}, Alarm: true}
	}, "read porch/alarm/set: no order"},
	{orderRetained, func(b *bench) {
		other := otherClient(b.t, b.Site)
		order := mqtt.Message{Topic: "porch/siren/set", Payload: []byte("ON"), Retain: true}
		if err := await(b.t.Context(), other, other.Publish(order)); err != nil {
			b.t.Fatal(err)
		}
		b.Config.Uplink.Commands = uplink.Commands{Outputs: []string{"siren"}}
		b.Config.Uplink.Protocol = mqtt.V311 // with 5 the broker does not send it to the agent
	}, "retained order on porch/siren/set"},
	{limitQoS, func(b *bench) {
		b.fake(&fakeBroker{connack: []byte{0x24, 0}})
		b.Config.Uplink.Protocol = mqtt.V311
	}, "QoS 0 at most"},
	{limitRetain, func(b *bench) { b.fake(&fakeBroker{connack: []byte{0x25, 0, 0x21, 0, 10}}) },
		"says that it keeps no"},
	{retainDenied, func(b *bench) {
		b.acl("topic readwrite porch/agent/canary\ntopic read porch/agent/status")
	}, "refuses the status of the agent (porch/agent/status): the broker refuses it (code 135)"},
	{retainLost, func(b *bench) {
		b.acl("topic readwrite porch/agent/canary\ntopic read porch/agent/status")
		b.Config.Uplink.Protocol = mqtt.V311
	}, "does not keep retained"},
	{limitPacket, func(b *bench) {
		b.server(startMosquitto(b.t, "allow_anonymous true\nsys_interval 0\nmax_packet_size 200"))
	}, "porch/agent/info"},
	{nobodySubscribed, func(b *bench) {
		addr := startMosquitto(b.t, "allow_anonymous true\nsys_interval 1")
		b.server(addr)
		watcher := otherClient(b.t, b.Site)
		eventually(b.t, "the broker tells how many subscribe", func() bool {
			return retained(b.t.Context(), watcher, "$SYS/broker/uptime", time.Second) != ""
		})
		hangUp(watcher)
		eventually(b.t, "nobody subscribes any more", func() bool {
			looker := otherClient(b.t, b.Site)
			defer hangUp(looker)
			return retained(b.t.Context(), looker, "$SYS/broker/subscriptions/count", time.Second) == "0"
		})
	}, "no client subscribes"},
}

func TestAHealthySiteHasNoFault(t *testing.T) {
	t.Parallel()
	for _, f := range healthy(t).findings() {
		t.Errorf("%+v", f)
	}
}

// TestLoginReportsTheMQTTVersion: the version that the agent would use with this
// configuration and this broker.
func TestLoginReportsTheMQTTVersion(t *testing.T) {
	t.Parallel()
	real, old := startMosquitto(t, "allow_anonymous true\nsys_interval 0"), (&fakeBroker{}).start(t)
	for _, c := range []struct{ addr, version, want string }{
		{real, "auto", "by MQTT 5"},
		{real, "3.1.1", "by MQTT 3.1.1"},
		{real, `"5"`, "by MQTT 5"},
		{old, "auto", "by MQTT 3.1.1 (not 5: "},
	} {
		b := healthyWith(t, fmt.Sprintf("server: \"mqtt://%s\", version: %s", c.addr, c.version))
		var note string
		Run(t.Context(), b.Site, func(r Result) {
			if r.Check == "login" {
				note = r.Note
			}
		})
		if want := "mqtt://" + c.addr + " " + c.want; !strings.HasPrefix(note, want) {
			t.Errorf("version %s: %q, want %q", c.version, note, want)
		}
		b.Close()
	}
}

// TestAHealthySiteWithABrokerHasNoFault uses a name and a password, TLS and an access list.
func TestAHealthySiteWithABrokerHasNoFault(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	b := healthyWith(t, fmt.Sprintf("server: \"mqtts://%s\", tls: {ca: %s}", a.broker(t, x509.Certificate{}),
		a.path("ca.pem")))
	for _, f := range b.findings() {
		t.Errorf("%+v", f)
	}
}

func TestEachSimulatedFaultIsTheOnlyFinding(t *testing.T) {
	t.Parallel()
	for _, p := range localFaults {
		t.Run(p.says, func(t *testing.T) {
			t.Parallel()
			p.expect(healthy(t))
		})
	}
}

func TestEachBrokerFaultIsTheOnlyFinding(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 40 s for brokers that do not answer: not with -short")
	}
	t.Parallel()
	for _, p := range brokerFaults {
		t.Run(p.says, func(t *testing.T) {
			t.Parallel()
			addr := startMosquitto(t, "allow_anonymous true\nsys_interval 0")
			p.expect(healthyWith(t, fmt.Sprintf("server: \"mqtt://%s\", keepalive: 5s", addr)))
		})
	}
}

func (p planted) expect(b *bench) {
	b.t.Helper()
	p.plant(b)
	found := b.findings()
	if len(found) != 1 || found[0].fault != p.fault {
		b.t.Fatalf("found %+v, want the one that says %q", found, p.fault.What)
	}
	f := found[0]
	if !strings.Contains(f.What, p.says) || strings.ContainsAny(f.What+f.Mend, "{\n") &&
		!strings.Contains(f.Mend, ": {") || f.Mend == "" {
		b.t.Errorf("it says %q, mend %q; want %q in it", f.What, f.Mend, p.says)
	}
}

// TestTheQueueOnATmpfs mounts a real tmpfs that is too small and has no free inodes.
func TestTheQueueOnATmpfs(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("only root may mount")
	}
	t.Parallel()
	for name, c := range map[string]struct {
		options string
		seen    bool // the fault was found
		want    []*Fault
	}{
		"memory":    {"size=256m", true, []*Fault{folderInMemory}},
		"full":      {"size=1m", false, []*Fault{diskFull}},
		"small":     {"size=8m", false, []*Fault{diskSmall}},
		"inodes":    {"size=256m,nr_inodes=4", false, []*Fault{noInodes}},
		"read-only": {"size=256m,ro", false, []*Fault{folderReadOnly}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := healthy(t)
			if err := syscall.Mount("tmpfs", b.path("state"), "tmpfs", 0,
				strings.TrimSuffix(c.options, ",ro")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Unmount(b.path("state"), 0) })
			if strings.HasSuffix(c.options, ",ro") {
				if err := syscall.Mount("", b.path("state"), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
			}
			if c.seen {
				b.Hardware.Proc = "/proc"
			}
			var got []*Fault
			for _, f := range b.findings() {
				got = append(got, f.fault)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v, want %q", got, c.want[0].What)
			}
		})
	}
}

// TestEachFaultOfTheTableIsSimulated checks that every fault of the checks has a test, and
// that no fault is in two checks.
func TestEachFaultOfTheTableIsSimulated(t *testing.T) {
	elsewhere := []*Fault{folderInMemory, diskFull, diskSmall, noInodes, // a mounted tmpfs
		busDenied, serialDenied, folderDenied, folderNone, // another user
		zoneUnknown,                                       // the environment
		canaryCloses, retainCloses, limitQoS, limitRetain} // the decoder of limits, and a broker of our own
	tested := map[*Fault]int{}
	for _, f := range elsewhere {
		tested[f]++
	}
	for _, p := range slices.Concat(localFaults, brokerFaults) {
		tested[p.fault]++
	}
	listed := map[*Fault]string{}
	for _, c := range Checks() {
		for _, f := range c.Faults {
			if other := listed[f]; other != "" {
				t.Errorf("%s and %s have the fault %q", other, c.Name, f.What)
			}
			if listed[f] = c.Name; tested[f] == 0 {
				t.Errorf("%s: no test plants %q", c.Name, f.What)
			}
			if f.Level == OK || f.What == "" || f.Mend == "" {
				t.Errorf("%s: a fault without a level, a text or a mend: %+v", c.Name, f)
			}
		}
	}
	for f := range tested {
		if listed[f] == "" {
			t.Errorf("no check lists %q", f.What)
		}
	}
}

// asNobody runs a test again as the user nobody, and reports whether this is that run: root
// may open everything.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nobody") // only root may use the folder of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "doctor.test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
		Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return false
}

func TestDevicesWithoutPermissionAreFound(t *testing.T) {
	if !asNobody(t) {
		return
	}
	for name, c := range map[string]planted{
		"a bus":     {busDenied, func(b *bench) { b.chmod("dev/i2c-1", 0o000) }, "dev/i2c-1"},
		"a line":    {serialDenied, func(b *bench) { b.chmod("dev/ttyUSB0", 0o000) }, "dev/ttyUSB0"},
		"a folder":  {folderDenied, func(b *bench) { b.chmod("state", 0o500) }, "state"},
		"no folder": {folderNone, func(b *bench) { b.remove("state"); b.chmod(".", 0o500) }, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			b := healthy(t)
			t.Cleanup(func() { b.chmod(".", 0o700); os.Chmod(b.path("state"), 0o700) })
			c.expect(b)
		})
	}
}

func TestAnUnknownTimeZoneInTheEnvironment(t *testing.T) {
	b := healthy(t)
	for zone, known := range map[string]bool{"Europe/Nowhere": false, "MEZ": false, "UTC": true,
		"CET-1CEST,M3.5.0,M10.5.0/3": true, "": true} {
		t.Setenv("TZ", zone)
		if found := checkZone(t.Context(), b.Site); len(found) == 0 != known ||
			!known && found[0].fault != zoneUnknown {
			t.Errorf("TZ=%s: %+v", zone, found)
		}
	}
}

// TestHangingCheckIsReported: the other checks still run.
func TestHangingCheckIsReported(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	c := Check{Name: "stuck", run: func(context.Context, *Site) []Finding { <-release; return nil }}
	r := c.result(t.Context(), healthy(t).Site, time.Millisecond)
	if r.Result != Error || r.Findings[0].fault != checkHangs {
		t.Errorf("%+v", r)
	}
}

func TestLineOfTheRunningAgentIsNoFault(t *testing.T) {
	t.Parallel()
	b := healthy(t)
	b.Agent = running(status.Queue{})
	b.line(17, "holdfast@812", uapi.LineFlagV2Used|uapi.LineFlagV2Input)
	if found := b.findings(); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

// TestFindingHasTheDisplayNameOfTheSensor: its remedy has the identifier for commands.
func TestFindingHasTheDisplayNameOfTheSensor(t *testing.T) {
	t.Parallel()
	b := healthy(t)
	for i := range b.Config.Sensors {
		b.Config.Sensors[i].Title = "厨房 " + b.Config.Sensors[i].Name
	}
	b.line(17, "cat", uapi.LineFlagV2Used|uapi.LineFlagV2Input)
	found := b.findings()
	if len(found) != 1 || !strings.HasSuffix(found[0].What, " (door is 厨房 door)") ||
		strings.Contains(found[0].Mend, "厨") {
		t.Errorf("%+v", found)
	}
}

// TestRunningAgentKeepsItsSession: nothing connects with its client ID.
func TestRunningAgentKeepsItsSession(t *testing.T) {
	t.Parallel()
	addr := startMosquitto(t, "allow_anonymous true\nsys_interval 0")
	b := healthyWith(t, fmt.Sprintf("server: \"mqtt://%s\"", addr))
	session := otherClient(t, b.Site)
	b.Agent = running(status.Queue{})
	if found := b.findings(); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	select {
	case <-session.Done():
		t.Errorf("its session has ended: %v", session.Err())
	default:
	}
}

// running is the answer of a connected agent.
func running(q status.Queue) *status.Snapshot {
	return &status.Snapshot{Node: status.Node{PID: 812}, Link: status.Link{Connected: true}, Queue: q}
}

func (b *bench) chmod(name string, mode os.FileMode) {
	b.t.Helper()
	if err := os.Chmod(b.path(name), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) line(offset int, holder string, flags uapi.LineFlagV2) {
	b.Chips = func() ([]gpio.Chip, []error) {
		c := soc()
		c.Lines[offset].Consumer, c.Lines[offset].Flags = holder, flags
		return []gpio.Chip{c}, nil
	}
}

// replace changes the configuration text of one sensor.
func (b *bench) replace(_, old, new string) {
	b.t.Helper()
	text := strings.NewReplacer("DIR", b.dir, "SERVER", "server: embedded", old, new).Replace(benchConfig)
	cfg, err := config.Parse("porch.yaml", []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Config.Sensors = cfg.Sensors
}

// siren adds an output that is on while its line is low, on a kernel that makes the line an
// input when the agent crashes, and a config.txt.
func (b *bench) siren(configTxt string) {
	b.t.Helper()
	b.plant("boot/firmware/config.txt", configTxt)
	b.plant("sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs", "N\n")
	text := strings.NewReplacer("DIR", b.dir, "SERVER", "server: embedded").Replace(benchConfig) +
		"outputs:\n  siren: {gpio: GPIO22, active: low, max_on: 3m}\n  fake: {kind: simulated, max_on: 3m}\n"
	cfg, err := config.Parse("porch.yaml", []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Config.Outputs = cfg.Outputs
}

func TestAHealthySirenHasNoFault(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"gpio=22=op,dh\n", "  gpio = 20-22 = pn,op,dh \ngpio=23=op,dl"} {
		b := healthy(t)
		b.siren(text)
		for _, f := range b.findings() {
			t.Errorf("%q: %+v", text, f)
		}
	}
	b := healthy(t)
	b.siren("")
	b.remove("boot") // not a Raspberry Pi
	for _, f := range b.findings() {
		t.Errorf("%+v", f)
	}
}

// FuzzConfigTxt parses any text. A level is one of two words, for a line that a board can
// have.
func FuzzConfigTxt(f *testing.F) {
	f.Add("gpio=22=op,dl\n[pi4]\ngpio=0-5,7=op,dh\ngpio=22=ip,pu")
	f.Add("gpio=-5-99999999999=op,dl\ngpio==\ngpio=5-3=op,dh")
	f.Fuzz(func(t *testing.T, text string) {
		for n, level := range bootLevels(text) {
			if n < 0 || n > gpio.MaxSoCNumber || level != "" && level != "dl" && level != "dh" {
				t.Errorf("line %d is %q", n, level)
			}
		}
	})
}

// backlog creates a queue's file with a reading of a client ID.
func (b *bench) backlog(name, clientID string) {
	b.t.Helper()
	path := b.path(name)
	q, err := queue.Open(queue.Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Hour, ClientID: clientID},
		slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { q.Run(ctx) })
	for seq := range uint64(50) {
		q.Put(sensors.Reading{Stream: "door", Seq: seq + 1, Priority: sensors.Alarm,
			At: clock.NewTimekeeper(clock.TrustAlways).Now()})
	}
	stop()
	writer.Wait()
	if err := q.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// damage creates a queue's file with a wrong byte in a reading.
func (b *bench) damage() {
	b.t.Helper()
	b.backlog("state/queue.db", "porch")
	path := b.path("state/queue.db")
	data, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	hurt := strings.ReplaceAll(string(data), "door", "d0or")
	if hurt == string(data) {
		b.t.Fatal("there is no reading to damage in the file")
	}
	write(b.t, path, hurt)
}

func (b *bench) clock(q clock.Quality) {
	b.Clock = func() (time.Time, clock.Quality) { return time.Now(), q }
}

func (b *bench) unit(active, file, result string) {
	b.Systemctl = func(context.Context, ...string) (string, error) {
		return systemdSays("loaded", active, file, result), nil
	}
}

func (b *bench) server(addr string) { b.configure("server: \"mqtt://" + addr + "\", keepalive: 5s") }

func (b *bench) fake(f *fakeBroker) { b.server(f.start(b.t)) }

// secure starts a broker with TLS and the given certificate.
func (b *bench) secure(c x509.Certificate) {
	a := newAuthority(b.t)
	b.configure(fmt.Sprintf("server: \"mqtts://%s\", tls: {ca: %s}", a.broker(b.t, c), a.path("ca.pem")))
}

// acl starts a broker with an access list.
func (b *bench) acl(lines string) {
	path := filepath.Join(b.dir, "acl")
	write(b.t, path, lines+"\n")
	b.server(startMosquitto(b.t, "allow_anonymous true\nsys_interval 0\nacl_file "+path))
}

func ago(hours int) time.Time { return time.Now().Add(-time.Duration(hours) * time.Hour) }
