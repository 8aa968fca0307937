package clock

import (
	"context"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errExpired: the wall clock has passed the last second of the timer, in 2038.
var errExpired = errors.New("the timer of the wall clock has expired")

// awaitSet leaves a token in wake each time that somebody sets the wall clock, and
// when the machine wakes from suspension, until ctx is done. It fails if the
// kernel does not tell.
//
// A timer of the wall clock that never expires and has TFD_TIMER_CANCEL_ON_SET is
// cancelled when that clock jumps, and can be read again for the next time
// (timerfd_create(2)). A clock that is slewed does not cancel it.
func awaitSet(ctx context.Context, wake chan<- struct{}) error {
	timer, err := newSetTimer()
	if err != nil {
		return err
	}
	defer timer.Close()
	defer context.AfterFunc(ctx, func() { timer.Close() })() // ends the read
	var expirations [8]byte
	for {
		_, err := timer.Read(expirations[:])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ECANCELED):
			signal(wake)
		case err == nil:
			return errExpired
		default:
			return err
		}
	}
}

func newSetTimer() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	var never unix.ItimerSpec
	// The last second that the field can hold: on 32 bits in 2038.
	never.Value.Sec = 1<<(8*unsafe.Sizeof(never.Value.Sec)-1) - 1
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		timer.Close()
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return timer, nil
}
