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

// A clockSource has the clocks that a timekeeper reads. Tests replace its functions to step
// the wall clock, to suspend the machine and to synchronise the clock.
type clockSource struct {
	kernel  string               // the id of this boot of the kernel
	wall    func() time.Time     // the wall clock
	uptime  func() time.Duration // since the kernel booted, suspended time included
	quality func() Quality       // how far the wall clock can be trusted
	name    func() string        // the source that confirms it; nil: not known
	poll    func()               // asks the slow sources; quality uses their last answer

	// awaitSet puts a token into wake each time the wall clock is set, until ctx is done. It
	// returns an error if the kernel does not announce that.
	awaitSet func(ctx context.Context, wake chan<- struct{}) error
}

// shortestSleep is less than any real suspension of the machine: a smaller
// difference is the time between reading two clocks.
const shortestSleep = 500 * time.Millisecond

// kernelClocks returns the clocks of this machine.
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

// KernelBootID returns the kernel's id of this boot, a UUID; empty: there is no /proc.
func KernelBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// kernelBoot returns the first 8 characters of the kernel's id of this boot: they distinguish
// the boots of one machine, and need little room in the queue's file.
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

// timeSources are the sources that can confirm the wall clock.
type timeSources struct {
	sys, run string
	chrony   string        // host:port
	second   atomic.Uint32 // a source: the last answer of the slow sources
}

// A source confirms the wall clock if the kernel does not.
type source uint32

const (
	sourceNone source = iota
	sourceChrony
	sourceTimesyncd
	sourceTimesyncdBefore // timesyncd has set the clock in this boot, but more than confirmedFor ago
	sourceRTC
)

// quality returns how far a time can be trusted that the source confirms.
func (s source) quality() Quality {
	switch s {
	case sourceChrony, sourceTimesyncd:
		return Synced
	case sourceTimesyncdBefore, sourceRTC:
		return Estimated
	}
	return Unsynced
}

// String returns the name of the source for a person; empty: none.
func (s source) String() string {
	return [...]string{"", "chrony", "systemd-timesyncd", "systemd-timesyncd", "real-time clock"}[s]
}

// name returns the source that confirms the wall clock; empty: none.
func (w *timeSources) name() string {
	if kernelSynced() {
		return "kernel (NTP)"
	}
	return source(w.second.Load()).String()
}

// quality asks the kernel. If the kernel knows no time source, it uses the last answer of the
// slow sources. It does not block.
func (w *timeSources) quality() Quality {
	if kernelSynced() {
		return Synced
	}
	return source(w.second.Load()).quality()
}

// poll asks the slow sources. It blocks for up to chronyPatience.
func (w *timeSources) poll() { w.second.Store(uint32(w.query(time.Now().UnixMilli()))) }

// query asks the slow sources, which may know more if the kernel calls its clock
// unsynchronised. The kernel does so when no program has confirmed the clock for some nine
// hours, and always if chrony runs without rtcsync.
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

// confirmedFor is how long the clock counts as synchronised after it was confirmed: as long
// as in the kernel.
const confirmedFor = 9 * time.Hour

// timesyncd reads the age of the file that systemd-timesyncd touches each time a server has
// confirmed the clock. /run is empty after a boot, so the file is of this boot. It is needed
// where the sandbox of a service (ProtectClock) does not allow adjtimex. Without the file,
// set is false and the age is confirmedFor.
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

// agreesWithRTC reports whether the wall clock differs from the real-time clock by less than
// a minute. A real-time clock without a battery, as on most Pi 5, starts in 1970 and so never
// agrees with a time that fake-hwclock or systemd has set.
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
