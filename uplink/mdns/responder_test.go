package mdns

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A responder answers for some hosts on the loopback interface, as avahi-daemon
// and others do for queries from any port: RFC 6762, section 6.7.
type responder struct {
	hosts   map[string][]netip.Addr // by the name, with its last dot
	aliases map[string]string
	change  func(answer []byte, query dnsmessage.Message) [][]byte // what is sent instead of an answer
}

// start serves until the end of the test.
func (r *responder) start(t *testing.T) {
	t.Helper()
	conn, err := net.ListenMulticastUDP("udp4", &net.Interface{Index: 1, Name: "lo"},
		&net.UDPAddr{IP: group4[:], Port: port})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { r.serve(t, conn) })
	t.Cleanup(func() { conn.Close(); serving.Wait() })
}

func (r *responder) serve(t *testing.T, conn *net.UDPConn) {
	m := make([]byte, maxPacket)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(m)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if err := q.Unpack(m[:n]); err != nil || len(q.Questions) != 1 || q.RecursionDesired || q.Response {
			continue // other tests may use this group too
		}
		for _, answer := range r.answers(t, q) {
			conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (r *responder) answers(t *testing.T, q dnsmessage.Message) [][]byte {
	question := q.Questions[0]
	host := strings.ToLower(question.Name.String())
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true},
		Questions: q.Questions}
	header := func(name string) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 10}
	}
	if alias := r.aliases[host]; alias != "" {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header(question.Name.String()),
			Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(alias)}})
	}
	for _, a := range r.hosts[host] {
		switch {
		case question.Type == dnsmessage.TypeA && a.Is4():
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header(question.Name.String()),
				Body: &dnsmessage.AResource{A: a.As4()}})
		case question.Type == dnsmessage.TypeAAAA && a.Is6():
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header(question.Name.String()),
				Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	if len(reply.Answers) == 0 {
		return nil // nobody answers that something is not there
	}
	wire, err := reply.Pack()
	if err != nil {
		t.Error(err)
		return nil
	}
	if r.change != nil {
		return r.change(wire, q)
	}
	return [][]byte{wire}
}
