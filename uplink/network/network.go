// Package network reports when this machine's network may be back, as the kernel
// announces it by rtnetlink(7): links, addresses and routes.
//
// # Concurrency
//
// Its functions may be called at the same time; none keeps a goroutine.
package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Groups of NETLINK_ROUTE in <linux/rtnetlink.h>: what the kernel announces.
const (
	groupLink      = 0x1
	groupIPv4Addr  = 0x10
	groupIPv4Route = 0x40
	groupIPv6Addr  = 0x100
	groupIPv6Route = 0x400
)

// maxDatagram bounds the bytes of announcements in one datagram: NLMSG_GOODSIZE in
// <linux/netlink.h>, which the kernel allocates for them, is less.
const maxDatagram = 32 << 10

// AwaitBack puts a token into back each time that a link gets a carrier, or an address or a
// route is added. It blocks until ctx is done and returns the error of ctx, or earlier an
// error of the netlink socket. back must have room for one token; while it is full, further
// tokens are dropped. A token may come although nothing is back, because the kernel has
// dropped announcements.
func AwaitBack(ctx context.Context, back chan<- struct{}) error {
	socket, err := listen()
	if err != nil {
		return fmt.Errorf("rtnetlink: %w", err)
	}
	defer socket.Close()
	return await(ctx, socket, back)
}

// listen opens a socket that gets the kernel's announcements.
func listen() (*os.File, error) {
	const kind = syscall.SOCK_RAW | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK
	fd, err := syscall.Socket(syscall.AF_NETLINK, kind, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(groupLink | groupIPv4Addr | groupIPv4Route | groupIPv6Addr | groupIPv6Route)
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: groups}); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// await reads announcements until ctx is done or the socket fails.
func await(ctx context.Context, socket *os.File, back chan<- struct{}) error {
	defer context.AfterFunc(ctx, func() { socket.Close() })() // ends the read
	datagram := make([]byte, maxDatagram)
	for {
		n, err := socket.Read(datagram)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.ENOBUFS): // the kernel has dropped announcements
		case err != nil:
			return err
		case !mayBeBack(datagram[:n]):
			continue
		}
		select {
		case back <- struct{}{}:
		default:
		}
	}
}

// Fields of struct ifinfomsg, which follows the header of RTM_NEWLINK.
const (
	linkFlags = 8  // offset of ifi_flags
	linkSize  = 16 // of all of it
)

// mayBeBack reports whether a datagram announces a change after which a connection may
// succeed.
func mayBeBack(datagram []byte) bool {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return false
	}
	for _, m := range messages {
		switch m.Header.Type {
		case syscall.RTM_NEWADDR, syscall.RTM_NEWROUTE:
			return true
		case syscall.RTM_NEWLINK:
			// RTM_NEWLINK also announces a lost carrier and scans for wireless networks, so the
			// flag has to be checked.
			if len(m.Data) >= linkSize && binary.NativeEndian.Uint32(m.Data[linkFlags:])&syscall.IFF_RUNNING != 0 {
				return true
			}
		}
	}
	return false
}
