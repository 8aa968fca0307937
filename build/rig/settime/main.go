// Settime does what an NTP client would do on the rig's machine, which reaches no time
// server: it steps the wall clock and tells the kernel that it is synchronized.
//
//	settime MILLISECONDS        since 1970, UTC
//	settime by MILLISECONDS     from what the clock says
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := set(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "settime:", err)
		os.Exit(1)
	}
}

func set(args []string) error {
	base := int64(0)
	if len(args) == 2 && args[0] == "by" {
		base, args = time.Now().UnixMilli(), args[1:]
	}
	if len(args) != 1 {
		return fmt.Errorf("say when")
	}
	ms, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	at := unix.NsecToTimespec((base + ms) * int64(time.Millisecond))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &at); err != nil {
		return err
	}
	// Setting the clock marks it as unsynchronized; clearing STA_UNSYNC marks it as
	// synchronized.
	const modes = unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR
	_, err = unix.Adjtimex(&unix.Timex{Modes: modes, Status: unix.STA_PLL})
	return err
}
