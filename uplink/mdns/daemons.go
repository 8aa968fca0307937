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

// Where the daemons listen that may know a name. They can hear what we cannot:
// a firewall often lets answers through to their port alone.
const (
	avahiSocket    = "/run/avahi-daemon/socket"
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
)

const maxReply = 64 << 10 // bytes

// exchange sends a request to a daemon and returns its answer up to a byte.
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

// avahi asks avahi-daemon, in the protocol of its socket: a line there and a
// line back, "+ INTERFACE PROTOCOL NAME ADDRESS", which holds one address.
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

// resolvedReply is what systemd-resolved answers.
type resolvedReply struct {
	Parameters struct {
		Addresses []struct {
			Index   int   `json:"ifindex"`
			Address []int `json:"address"` // its bytes
		} `json:"addresses"`
	} `json:"parameters"`
}

// resolved asks systemd-resolved: JSON that ends with a zero byte, as
// varlink has it.
func resolved(ctx context.Context, socket, host string) (found []source, err error) {
	// a host has no quotes
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
