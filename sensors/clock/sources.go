package clock

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A clockSource is the clocks that a timekeeper reads. Tests replace its functions
// to step the wall clock, to suspend the machine and to synchronise the clock.
type clockSource struct {
	kernel  string               // the id of this boot of the kernel
	wall    func() time.Time     // the wall clock
	uptime  func() time.Duration // since the kernel booted, suspended time included
	quality func() Quality       // how far the wall clock can be trusted
	name    func() string        // what confirms it; nil: nobody knows
	poll    func()               // asks the slow sources; quality uses their last answer

	// awaitSet leaves a token in wake each time that the wall clock is set, until
	// ctx is done. It fails if that cannot be told.
	awaitSet func(ctx context.Context, wake chan<- struct{}) error
}

// shortestSleep is less than any real suspension of the machine: a smaller
// difference is the time between reading two clocks.
const shortestSleep = 500 * time.Millisecond

// kernelClocks are the clocks of this machine.
func kernelClocks() clockSource {
	start, at := time.Now(), boottime()
	asleep := at - monotonic() // suspended until now
	w := &timeSources{sys: "/sys", run: "/run", chrony: "127.0.0.1:323"}
	return clockSource{
		kernel: kernelBoot(),
		wall:   time.Now,
		uptime: func() time.Duration {
			suspended := boottime() - monotonic() - asleep
			if suspended < shortestSleep { // the two clocks were not read at the same moment
				suspended = 0
			}
			return at + time.Since(start) + suspended.Truncate(time.Millisecond)
		},
		quality:  w.quality,
		name:     w.name,
		poll:     w.poll,
		awaitSet: awaitSet,
	}
}

// KernelBootID is the kernel's name for this boot, a UUID; empty where /proc is not there.
func KernelBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// kernelBoot is the start of the kernel's id of this boot: enough to tell the boots of one
// machine apart, and short in the queue's file.
var kernelBoot = sync.OnceValue(func() string {
	if id := KernelBootID(); len(id) > 8 {
		return id[:8]
	}
	started := boottime() - time.Duration(time.Now().UnixNano()) // no /proc: the time of the boot serves as an id
	return hex.EncodeToString([]byte(strconv.FormatInt(int64(started), 36)))[:8]
})

// Clocks of clock_gettime(2). Go's own is CLOCK_MONOTONIC, which stops while the
// machine is suspended.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

func boottime() time.Duration  { return clock(clockBoottime) }
func monotonic() time.Duration { return clock(clockMonotonic) }

// clock reads one of the kernel's clocks, 0 if the kernel does not have it.
func clock(id uintptr) time.Duration {
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0 // a kernel before 2.6.39
	}
	return time.Duration(t.Nano())
}

// timeSources are what can confirm the wall clock.
type timeSources struct {
	sys, run string
	chrony   string        // host:port
	second   atomic.Uint32 // the last answer of the slow sources, a source
}

// A source is what confirms the wall clock where the kernel does not.
type source uint32

const (
	sourceNone source = iota
	sourceChrony
	sourceTimesyncd
	sourceTimesyncdBefore // it has set the clock, but not lately
	sourceRTC
)

// quality is how far a time can be trusted that the source confirms.
func (s source) quality() Quality {
	switch s {
	case sourceChrony, sourceTimesyncd:
		return Synced
	case sourceTimesyncdBefore, sourceRTC:
		return Estimated
	}
	return Unsynced
}

// String names the source for a person, "" if there is none.
func (s source) String() string {
	return [...]string{"", "chrony", "systemd-timesyncd", "systemd-timesyncd", "real-time clock"}[s]
}

// name says what confirms the wall clock, empty if nothing does.
func (w *timeSources) name() string {
	if kernelSynced() {
		return "kernel (NTP)"
	}
	return source(w.second.Load()).String()
}

// quality asks the kernel. If that knows no time source, it is the last answer of
// the slow sources. It does not wait.
func (w *timeSources) quality() Quality {
	if kernelSynced() {
		return Synced
	}
	return source(w.second.Load()).quality()
}

// poll asks the slow sources, which takes up to chronyPatience.
func (w *timeSources) poll() { w.second.Store(uint32(w.query(time.Now().UnixMilli()))) }

// query asks the sources that may know better where the kernel calls its clock
// unsynchronised: it does so when no program has confirmed the clock for some
// nine hours, and always where chrony runs without rtcsync.
func (w *timeSources) query(wall int64) source {
	age, set := w.timesyncd(wall)
	switch {
	case chronySynced(w.chrony):
		return sourceChrony
	case age < confirmedFor:
		return sourceTimesyncd
	case set:
		return sourceTimesyncdBefore
	case w.agreesWithRTC(wall):
		return sourceRTC
	}
	return sourceNone
}

// confirmedFor is how long the clock is good after it was confirmed: as long as the
// kernel calls it synchronised.
const confirmedFor = 9 * time.Hour

// timesyncd finds the mark that systemd-timesyncd touches each time a server has
// confirmed the clock, in a folder that does not outlive the boot: so no old clock
// can have made it. It says what the kernel says where the sandbox of a service
// (ProtectClock) does not let the kernel be asked. The age is confirmedFor at least
// where there is no mark.
func (w *timeSources) timesyncd(wall int64) (age time.Duration, set bool) {
	mark, err := os.Stat(filepath.Join(w.run, "systemd/timesync/synchronized"))
	if err != nil {
		return confirmedFor, false
	}
	age = time.Duration(wall-mark.ModTime().UnixMilli()) * time.Millisecond
	if age < -time.Minute { // the clock was set back by hand since
		age = confirmedFor
	}
	return age, true
}

// agreesWithRTC compares the wall clock with a clock that has a battery. One
// without, as on most Pi 5s, begins in 1970 and agrees with nothing that
// fake-hwclock or systemd may have set.
func (w *timeSources) agreesWithRTC(wall int64) bool {
	text, err := os.ReadFile(filepath.Join(w.sys, "class/rtc/rtc0/since_epoch"))
	if err != nil {
		return false
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	off := wall - seconds*1000
	return err == nil && off < 60_000 && off > -60_000
}

// kernelSynced reports whether a time source disciplines the kernel's clock:
// adjtimex(2) without a change returns TIME_ERROR while STA_UNSYNC is set.
func kernelSynced() bool {
	const timeError = 5 // TIME_ERROR in <sys/timex.h>
	state, err := syscall.Adjtimex(&syscall.Timex{})
	return err == nil && state != timeError
}
