package network

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// message is one announcement with a header, as the kernel lays it out.
func message(kind uint16, body ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, make([]byte, syscall.NLMSG_HDRLEN-len(b))...)
	b = append(b, body...)
	return append(b, make([]byte, -len(b)&3)...) // to a multiple of four
}

// link is a struct ifinfomsg.
func link(flags uint32) []byte {
	b := make([]byte, linkSize)
	binary.NativeEndian.PutUint32(b[linkFlags:], flags)
	return b
}

func TestAddedLinksAddressesAndRoutesAreReported(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want bool
	}{
		{"nothing", nil, false},
		{"an address", message(syscall.RTM_NEWADDR, make([]byte, 8)...), true},
		{"a route", message(syscall.RTM_NEWROUTE, make([]byte, 12)...), true},
		{"an address that goes", message(syscall.RTM_DELADDR, make([]byte, 8)...), false},
		{"a route that goes", message(syscall.RTM_DELROUTE, make([]byte, 12)...), false},
		{"a carrier", message(syscall.RTM_NEWLINK, link(syscall.IFF_UP|syscall.IFF_RUNNING)...), true},
		{"a link without a carrier", message(syscall.RTM_NEWLINK, link(syscall.IFF_UP)...), false},
		{"a link that is cut short", message(syscall.RTM_NEWLINK, 0), false},
		{"the second of two", append(message(syscall.RTM_DELROUTE, make([]byte, 12)...),
			message(syscall.RTM_NEWROUTE, make([]byte, 12)...)...), true},
	} {
		if got := mayBeBack(c.data); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func FuzzMayBeBack(f *testing.F) {
	f.Add(message(syscall.RTM_NEWLINK, link(syscall.IFF_RUNNING)...))
	f.Add(message(syscall.RTM_NEWADDR))
	f.Fuzz(func(t *testing.T, data []byte) {
		if mayBeBack(data) && len(data) < syscall.NLMSG_HDRLEN {
			t.Errorf("% x is no message", data)
		}
	})
}

// TestKernelAnnouncesALinkThatComesUp in a network of its own, whose loopback is
// down.
func TestKernelAnnouncesALinkThatComesUp(t *testing.T) {
	socket, up := isolated(t)
	ctx, stop := context.WithCancel(t.Context())
	back, ended := make(chan struct{}, 1), make(chan error)
	go func() { ended <- await(ctx, socket, back) }()
	up()
	select {
	case <-back:
	case <-time.After(time.Minute):
		t.Error("the loopback came up, and the kernel told nothing")
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// isolated makes a network namespace, and returns a socket in it and what switches
// its loopback on. Its thread ends with the test.
func isolated(t *testing.T) (socket *os.File, up func()) {
	t.Helper()
	made, switchOn := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			socket, err = listen()
		}
		made <- err
		<-switchOn
		made <- loopbackUp()
	}()
	if err := <-made; errors.Is(err, unix.EPERM) {
		close(switchOn)
		<-made
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("only root may make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket, func() {
		close(switchOn)
		if err := <-made; err != nil {
			t.Fatal(err)
		}
	}
}

// loopbackUp switches lo on in the namespace of this thread.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
