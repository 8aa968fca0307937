package i2c

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// adapter is the device of a bus and its driver in the kernel.
type adapter struct{ device, driver string } // folders of sysfs

// name is the name that the driver's files bind and unbind accept.
func (a adapter) name() string { return filepath.Base(a.device) }

func (a adapter) isGPIO() bool { return filepath.Base(a.driver) == "i2c-gpio" }

// findAdapter finds the adapter of a bus in sysfs: /sys/bus/i2c/devices/i2c-1 links to a folder
// inside that of the device.
func findAdapter(h *host.Host, bus string) (adapter, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "bus", "i2c", "devices", bus))
	if err != nil {
		return adapter{}, err
	}
	device := filepath.Dir(dir)
	driver, err := filepath.EvalSymlinks(filepath.Join(device, "driver"))
	if err != nil {
		return adapter{}, fmt.Errorf("%s has no driver that could be bound again: %w", device, err)
	}
	return adapter{device, driver}, nil
}

// rebind unbinds the driver of a bus's adapter and binds it again. Between the two it sends nine
// clocks, if the kernel drives the bus by GPIO lines. did says what it did. The caller must have
// closed the file of the bus.
//
// This also removes and restores the kernel's drivers of parts on the bus. If another program
// has the bus open, it blocks until that program closes its file.
func (bs *Buses) rebind(h *host.Host, bus string) (did string, err error) {
	a, err := findAdapter(h, bus)
	if err != nil {
		return "", err
	}
	// Open both files first, so that nothing is unbound that cannot be bound again.
	unbind, err := bs.attr(a, "unbind")
	if err != nil {
		return "", err
	}
	defer unbind.Close()
	bind, err := bs.attr(a, "bind")
	if err != nil {
		return "", err
	}
	defer bind.Close()
	var clock func() (string, error)
	if a.isGPIO() {
		clock = bs.clocks(h, a) // before unbind: the lines may be found by their consumer only
	}
	if _, err := io.WriteString(unbind, a.name()); err != nil {
		return "", fmt.Errorf("unbind %s: %w", a.name(), err)
	}
	did = fmt.Sprintf("%s unbound and bound", filepath.Base(a.driver))
	if clock != nil {
		var clocked string
		clocked, err = clock()
		did = strings.TrimPrefix(clocked+", ", ", ") + did
	}
	if _, failed := io.WriteString(bind, a.name()); failed != nil {
		return "", fmt.Errorf("%s is gone: bind %s: %w: echo %s | sudo tee %s/bind",
			bus, a.name(), failed, a.name(), a.driver)
	}
	return did, err
}

// attr opens a driver's file for writing. Its error says which permission is missing.
func (bs *Buses) attr(a adapter, file string) (io.WriteCloser, error) {
	path := filepath.Join(a.driver, file)
	open := bs.openAttr
	if open == nil {
		open = func(path string) (io.WriteCloser, error) { return os.OpenFile(path, os.O_WRONLY, 0) }
	}
	f, err := open(path)
	switch {
	case errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("%w: the service's ProtectKernelTunables= keeps holdfast from "+
			"setting the adapter up again", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: to let holdfast set the adapter up again: sudo chgrp i2c %s/{bind,unbind}; "+
			"sudo chmod g+w %s/{bind,unbind} at each boot", err, a.driver, a.driver)
	}
	return f, err
}

// clocks finds the lines of an i2c-gpio bus. It returns a function that sends nine clocks, to be
// called when the driver has released the lines.
func (bs *Buses) clocks(h *host.Host, a adapter) func() (string, error) {
	sda, scl, err := busLines(h, a.device)
	return func() (string, error) {
		if err != nil {
			return "", fmt.Errorf("no clocks: %w", err)
		}
		n, err := bs.clock(sda, scl)
		if err != nil {
			return fmt.Sprintf("%d clocks on %v", n, scl), err
		}
		return fmt.Sprintf("%d clocks on %v: SDA is high", n, scl), nil
	}
}
