package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The sockets of the daemons that may know a name. They may receive answers that
// this process does not: a firewall often lets multicast DNS pass only to port
// 5353, which they have bound.
const (
	avahiSocket    = "/run/avahi-daemon/socket"
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
)

// maxReply bounds, in bytes, what is read of a daemon's reply: a reply of
// systemd-resolved has 60 bytes or so for each address.
const maxReply = 64 << 10

// exchange connects to a daemon's socket, sends a request, and returns the reply
// up to and including the byte end. It fails at once if the daemon does not run,
// with [io.EOF] if the reply ends before that byte or is longer than maxReply, and
// with a timeout when ctx is done.
func exchange(ctx context.Context, socket, request string, end byte) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	return bufio.NewReader(io.LimitReader(conn, maxReply)).ReadString(end)
}

// avahi queries avahi-daemon by the text protocol of its socket: one line there,
// "RESOLVE-HOSTNAME-IPV4 NAME", and one line back, "+ INTERFACE PROTOCOL NAME
// ADDRESS", or one that begins with "-" and an error. A reply has one address, so
// family is "IPV4" or "IPV6" and both are queried.
func avahi(ctx context.Context, socket, host, family string) ([]source, error) {
	line, err := exchange(ctx, socket, "RESOLVE-HOSTNAME-"+family+" "+host+"\n", '\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(line)
	if len(fields) != 5 || fields[0] != "+" {
		return nil, errors.New("avahi-daemon does not know the name")
	}
	addr, err := netip.ParseAddr(fields[4])
	if err != nil {
		return nil, err
	}
	index, err := strconv.Atoi(fields[1])
	if err != nil {
		return nil, err
	}
	return []source{{addr, index}}, nil
}

// resolvedReply is the part that is used of the reply of systemd-resolved. An
// error has no addresses.
type resolvedReply struct {
	Parameters struct {
		Addresses []struct {
			Index   int   `json:"ifindex"` // of the interface, as in source
			Address []int `json:"address"` // its 4 or 16 bytes, each as a number
		} `json:"addresses"`
	} `json:"parameters"`
}

// resolved queries systemd-resolved by varlink: a JSON object each way, which
// ends with a zero byte. The method is ResolveHostname of io.systemd.Resolve. It
// returns at most maxAddrs addresses, and an error if there is none.
func resolved(ctx context.Context, socket, host string) (found []source, err error) {
	// The name is not escaped: no host's name has a quote or a backslash, and the daemon
	// refuses a request that is no JSON.
	const request = `{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"%s"}}` + "\x00"
	text, err := exchange(ctx, socket, fmt.Sprintf(request, host), 0)
	if err != nil {
		return nil, err
	}
	var reply resolvedReply
	if err := json.Unmarshal([]byte(strings.TrimSuffix(text, "\x00")), &reply); err != nil {
		return nil, err
	}
	for _, a := range reply.Parameters.Addresses {
		octets := make([]byte, len(a.Address))
		for i, octet := range a.Address {
			octets[i] = byte(octet)
		}
		if addr, ok := netip.AddrFromSlice(octets); ok && len(found) < maxAddrs {
			found = append(found, source{addr, a.Index})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("systemd-resolved does not know the name")
	}
	return found, nil
}
