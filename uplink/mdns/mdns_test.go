package mdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nobody makes a Resolver use multicast alone: no daemon runs, and the DNS is not
// queried.
var nobody = &services{"/nowhere/avahi", "/nowhere/resolved", &hosts}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestIsLocal(t *testing.T) {
	for name, local := range map[string]bool{
		"homeassistant.local": true, "HomeAssistant.Local.": true, "a.b.local": true,
		"local": false, ".local": false, "homeassistant.locals": false, "homeassistantlocal": false,
		"local.example.com": false, "192.168.1.7": false, "": false,
	} {
		if IsLocal(name) != local {
			t.Errorf("%q: local is %v", name, !local)
		}
	}
}

// The socket is a real one, and so are the multicasts.
func TestLookupFindsAHostByMulticast(t *testing.T) {
	for name, c := range map[string]struct {
		bind  string
		hosts []netip.Addr
		want  []netip.Addr
	}{
		"IPv4":        {"lo", addresses("192.0.2.7"), addresses("192.0.2.7")},
		"IPv6":        {"lo", addresses("2001:db8::7"), addresses("2001:db8::7")},
		"of the link": {"lo", addresses("fe80::7"), addresses("fe80::7%lo")},
		"both, ours first": {"lo", addresses("2001:db8::7", "192.0.2.7", "127.0.0.7", "::1"),
			addresses("127.0.0.7", "::1", "192.0.2.7", "2001:db8::7")},
		"bound to an IPv4": {"127.0.0.1", addresses("2001:db8::7", "192.0.2.7"), addresses("192.0.2.7")},
		"bound to an IPv6": {"::1", addresses("2001:db8::7", "192.0.2.7"), addresses("2001:db8::7")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &responder{hosts: map[string][]netip.Addr{"porch-found.local.": c.hosts}}
			r.start(t)
			for _, host := range []string{"porch-found.local", "Porch-Found.LOCAL."} {
				got := eventually(Resolver{Bind: c.bind, services: nobody}, host, c.want)
				if !slices.Equal(got, c.want) {
					t.Errorf("%s: got %v, want %v", host, got, c.want)
				}
			}
		})
	}
}

// avahi-daemon publishes other names of a host so.
func TestLookupFollowsAliases(t *testing.T) {
	r := &responder{hosts: map[string][]netip.Addr{"porch-host.local.": addresses("192.0.2.7")},
		aliases: map[string]string{"porch-mqtt.local.": "porch-alias.local.",
			"porch-alias.local.": "Porch-Host.local."}}
	r.start(t)
	got, err := Resolver{Bind: "lo", services: nobody}.Lookup(t.Context(), "porch-mqtt.local")
	if err != nil || !slices.Equal(got, addresses("192.0.2.7")) {
		t.Errorf("got %v, %v", got, err)
	}
}

// Aliases in a circle, garbage and answers to others' queries: none is taken,
// and none ends the search.
func TestLookupIgnoresWrongAnswers(t *testing.T) {
	r := &responder{hosts: map[string][]netip.Addr{"porch-good.local.": addresses("192.0.2.7")}}
	r.change = func(answer []byte, q dnsmessage.Message) [][]byte {
		other := slices.Clone(answer)
		other[0]++ // another ID
		failed := slices.Clone(answer)
		failed[3] |= 3                   // a code of failure
		failed[len(failed)-1] = 66       // and another address
		question := slices.Clone(answer) // not a response
		question[2] &^= 0x80
		question[len(question)-1] = 67
		other[len(other)-1] = 65
		return [][]byte{{}, []byte("garbage"), answer[:len(answer)-1], other, failed, question,
			slices.Repeat([]byte{0xff}, 8000), answer}
	}
	r.start(t)
	got, err := Resolver{Bind: "lo", services: nobody}.Lookup(t.Context(), "porch-good.local")
	if err != nil || !slices.Equal(got, addresses("192.0.2.7")) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLookupErrorNamesAnUnknownHost(t *testing.T) {
	r := &responder{aliases: map[string]string{"porch-a.local.": "porch-b.local.", "porch-b.local.": "porch-a.local."}}
	r.start(t)
	for host, want := range map[string]string{
		"porch-nobody.local":                 "by multicast DNS on lo",
		"porch-a.local":                      "by multicast DNS on lo",
		strings.Repeat("a", 64) + ".local":   "1 to 63 bytes",
		strings.Repeat("abc.", 70) + "local": "1 to 63 bytes",
		"a..local":                           "1 to 63 bytes",
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			_, err := Resolver{Bind: "lo", services: nobody}.Lookup(t.Context(), host)
			var unknown *net.DNSError
			if !errors.As(err, &unknown) || !unknown.IsNotFound || unknown.Name != host ||
				!strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if _, err := (Resolver{Bind: "lo", services: nobody}).Lookup(ctx, "porch-nobody.local"); !errors.Is(err,
		context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took >= searchTimeout {
		t.Errorf("it took %v", took)
	}
}

func TestLookupQueriesTheBoundInterface(t *testing.T) {
	for bind, want := range map[string]string{"lo": "lo", "127.0.0.1": "lo", "::1": "lo", "wwan7": "",
		"192.0.2.9": ""} {
		got, err := links(bind)
		switch {
		case want == "" && err == nil, want != "" && (len(got) != 1 || got[0].name != want):
			t.Errorf("bind %s: got %v, %v, want %q", bind, got, err, want)
		}
	}
}

// answering is a DNS server that says the same to every name, and counts.
func answering(t *testing.T, addr netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		m := make([]byte, maxPacket)
		for {
			n, from, err := conn.ReadFrom(m)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(m[:n]) != nil {
				continue
			}
			q.Response, q.RecursionAvailable, q.Additionals = true, true, nil
			if q.Questions[0].Type == dnsmessage.TypeA {
				q.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name,
					Class: dnsmessage.ClassINET, TTL: 1},
					Body: &dnsmessage.AResource{A: addr.As4()}}}
			}
			wire, _ := q.Pack()
			conn.WriteTo(wire, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}

// Some companies have hosts under .local in their DNS, and some providers an
// answer to every name.
func TestTheDNSCountsWhenNoOtherServiceKnows(t *testing.T) {
	r := &responder{hosts: map[string][]netip.Addr{"porch-mine.local.": addresses("127.0.0.7")}}
	r.start(t)
	here := &services{nobody.avahi, nobody.resolved, answering(t, netip.MustParseAddr("192.0.2.1"))}
	for host, want := range map[string]string{"porch-mine.local": "127.0.0.7", "porch.corp.local": "192.0.2.1"} {
		got, err := Resolver{Bind: "lo", services: here}.Lookup(t.Context(), host)
		if err != nil || !slices.Equal(got, addresses(want)) {
			t.Errorf("%s: got %v, %v, want %s", host, got, err, want)
		}
	}
}

// daemon answers one request after the other at a socket.
func daemon(t *testing.T, answers map[string]string) (path string) {
	t.Helper()
	path = t.TempDir() + "/socket"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 1024)
			n, _ := conn.Read(request)
			conn.Write([]byte(answers[string(request[:n])]))
			conn.Close()
		}
	}()
	return path
}

func TestLookupQueriesTheDaemons(t *testing.T) {
	const host = "porch-daemon.local"
	avahi4, avahi6 := "RESOLVE-HOSTNAME-IPV4 "+host+"\n", "RESOLVE-HOSTNAME-IPV6 "+host+"\n"
	varlink := `{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"` + host + `"}}` + "\x00"
	for name, c := range map[string]struct {
		avahi, resolved map[string]string
		want            []netip.Addr
	}{
		"avahi": {avahi: map[string]string{avahi4: "+ 1 0 porch-daemon.local 192.0.2.7\n"},
			want: addresses("192.0.2.7")},
		"avahi, of the link": {avahi: map[string]string{avahi6: "+ 1 1 porch-daemon.local fe80::7\n"},
			want: addresses("fe80::7%lo")},
		"resolved": {resolved: map[string]string{varlink: `{"parameters":{"addresses":[{"ifindex":1,"family":10,` +
			`"address":[254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,7]},` +
			`{"family":2,"address":[192,0,2,7]}],"name":"porch-daemon.local","flags":1048633}}` +
			"\x00"}, want: addresses("192.0.2.7", "fe80::7%lo")},
		"of another interface": {avahi: map[string]string{avahi4: "+ 77 0 porch-daemon.local 192.0.2.7\n"}},
		"do not know": {avahi: map[string]string{avahi4: "-15 Timeout reached\n", avahi6: "\n"},
			resolved: map[string]string{varlink: `{"error":"io.systemd.Resolve.NoNameServers","parameters":{}}` +
				"\x00"}},
		"garbage": {avahi: map[string]string{avahi4: "+ 1 0 porch-daemon.local 192.0.2\n",
			avahi6: "+ x 0 porch-daemon.local 192.0.2.7\n"},
			resolved: map[string]string{varlink: `{"parameters":{"addresses":[{"ifindex":1,"address":[1,2,3]}]}}` +
				"\x00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Resolver{Bind: "lo", services: &services{daemon(t, c.avahi), daemon(t, c.resolved),
				&hosts}}.Lookup(t.Context(), host)
			if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// The daemon accepts connections and never replies.
func TestLookupDoesNotWaitForASilentDaemon(t *testing.T) {
	path := t.TempDir() + "/socket"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &responder{hosts: map[string][]netip.Addr{"porch-silent.local.": addresses("127.0.0.7")}}
	r.start(t)
	got, err := Resolver{Bind: "lo", services: &services{path, path, &hosts}}.Lookup(t.Context(), "porch-silent.local")
	if err != nil || !slices.Equal(got, addresses("127.0.0.7")) {
		t.Errorf("got %v, %v", got, err)
	}
}
