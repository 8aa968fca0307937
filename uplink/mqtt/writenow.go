package mqtt

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// rawOf returns the socket of a connection whose bytes go to the kernel as they are;
// nil if TLS or WebSocket is above it, or it is no socket, as in tests.
func rawOf(conn net.Conn) syscall.RawConn {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeNow writes what was gathered in the goroutine of the caller, as far as the
// kernel takes it without waiting. The rest, and an error, are left to flush. A hand
// over to flush would cost a switch of goroutines, often one of threads, and the first
// packet would go alone while the caller still gathers.
func (w *wire) writeNow() {
	w.mu.Lock()
	if len(w.out) == 0 || w.writing || w.closed || w.direct == nil {
		if len(w.out) > 0 {
			signal(w.kick)
		}
		w.mu.Unlock()
		return
	}
	out := w.out
	w.out, w.spare = w.spare[:0], nil
	w.writing = true
	w.mu.Unlock()

	n, err := writeOnce(w.direct, out)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
	if w.failure == nil { // the first one says why; flush has not seen it yet
		w.failure = err
	}
	if n < len(out) { // the rest goes before what was gathered meanwhile
		rest := append(out[:copy(out, out[n:])], w.out...)
		out, w.out = w.out, rest
	}
	w.spare = out[:0]
	w.room.Broadcast()
	if len(w.out) > 0 || w.closed || err != nil {
		signal(w.kick)
	}
}

// writeOnce writes as much as the kernel takes without waiting. That it takes nothing
// is no error.
func writeOnce(socket syscall.RawConn, data []byte) (n int, err error) {
	failed := socket.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), data)
		return true // do not wait
	})
	switch {
	case errors.Is(failed, os.ErrDeadlineExceeded): // flush has set one, and will write
		return 0, nil
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("write", err)
	}
	return n, nil
}
