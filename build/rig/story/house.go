package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/guest"
	"github.com/holdfast-iot/holdfast/build/rig/i2csim"
	"github.com/holdfast-iot/holdfast/build/rig/nbd"
	"github.com/holdfast-iot/holdfast/build/rig/tinyusb"
	"github.com/holdfast-iot/holdfast/build/rig/usbredir"
	"github.com/holdfast-iot/holdfast/build/rig/vm"
)

// A house has everything that a story controls: the machine, its simulated hardware, and
// the broker with a subscriber that records everything.
type house struct {
	*report
	random  *rand.Rand
	qemu    func(date string) *exec.Cmd
	console io.Writer

	broker   *broker.Mosquitto
	recorder *broker.Recorder
	disk     *nbd.Disk
	bus      *i2csim.Bus
	room     *i2csim.AHT20
	weather  *i2csim.BME280

	machine *vm.Machine
	gpio    string // the controller's path
	open    bool   // the door is open
	watch   bool   // record the changes of the controller's outputs
	turned  bool   // the line of the meter is high
	pressed []press
	began   time.Time
}

// A press is one change of the door, with the time of the host's clock.
type press struct {
	open bool
	at   time.Time
}

// setUp starts everything except the machine. Sockets go to dir, whose name must be short,
// logs to o.run. The caller has to call tearDown, even after an error.
func (h *house) setUp(ctx context.Context, o options, dir string, config []byte) error {
	log, err := os.Create(filepath.Join(o.run, "mosquitto.log"))
	if err != nil {
		return err
	}
	if h.broker, err = broker.Start(ctx, dir, log); err != nil {
		return err
	}
	if h.recorder, err = broker.Record(h.broker.Address, "rig-story", clientID+"/#"); err != nil {
		return err
	}
	plan := guest.Plan{
		Agent: o.agent, Settime: o.settime, Config: config, Work: o.run,
		Disk: filepath.Join(dir, "disk"), Adapter: filepath.Join(dir, "i2c"),
		Forward: fmt.Sprintf("'%s' pipe %s", os.Args[0], h.broker.Address),
	}
	if err := h.plugDisk(ctx, o, plan.Disk); err != nil {
		return err
	}
	if err := h.plugAdapter(plan.Adapter); err != nil {
		return err
	}
	h.qemu, err = guest.Fetched(o.fetched).Build(ctx, plan)
	return err
}

// flushTakes is typical of a good card.
const flushTakes = 5 * time.Millisecond

// plugDisk creates an empty disk and serves it.
func (h *house) plugDisk(ctx context.Context, o options, socket string) error {
	const size = 64 << 20
	image := filepath.Join(o.run, "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(image, size); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	var err error
	if h.disk, err = nbd.Open(image, o.lying); err != nil {
		return err
	}
	h.disk.SetFlushTime(flushTakes)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go h.disk.Serve(l) // until the process ends
	return nil
}

// kernelAddress is the address of a BME280 for the kernel's own driver.
const kernelAddress = 0x77

func (h *house) plugAdapter(socket string) error {
	h.room = &i2csim.AHT20{}
	h.weather = i2csim.NewBME280()
	h.bus = i2csim.NewBus(map[byte]i2csim.Part{
		i2csim.AHT20Address:  h.room,
		i2csim.BME280Address: h.weather,
		kernelAddress:        i2csim.NewBME280(),
	})
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go usbredir.Serve(l, tinyusb.New(h.bus)) // until the process ends
	return nil
}

// tearDown stops what setUp and the story have started.
func (h *house) tearDown() {
	if h.machine != nil {
		h.machine.Kill()
	}
	if h.recorder != nil {
		h.recorder.Close()
	}
	if h.broker != nil {
		h.broker.Kill()
	}
}

// sleep waits for d, or until the time limit of the story.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
