package mdns

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TestQueriesAreWhatTheStandardSays: another implementation reads them.
func TestQueriesAreWhatTheStandardSays(t *testing.T) {
	n, err := newName("Home-Assistant.local")
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(query(0xbeef, n, typeAAAA)); err != nil {
		t.Fatal(err)
	}
	want := dnsmessage.Question{Name: dnsmessage.MustNewName("home-assistant.local."), Type: dnsmessage.TypeAAAA,
		Class: dnsmessage.ClassINET}
	if m.Header != (dnsmessage.Header{ID: 0xbeef}) || len(m.Questions) != 1 || m.Questions[0] != want ||
		len(m.Answers)+len(m.Authorities)+len(m.Additionals) > 0 {
		t.Errorf("got %#v", m)
	}
}

// reference decodes with another implementation. It is nil where that one says
// that this is no message.
func reference(wire []byte, wanted name) (addrs []netip.Addr, ok bool) {
	var m dnsmessage.Message
	if err := m.Unpack(wire); err != nil || !m.Response || m.OpCode != 0 || m.RCode != 0 {
		return nil, false
	}
	found, aliases := map[name][]netip.Addr{}, map[name]name{}
	for _, r := range slices.Concat(m.Answers, m.Authorities, m.Additionals) {
		owner := wireName(r.Header.Name)
		if r.Header.Class&^0x8000 != dnsmessage.ClassINET || r.Header.TTL == 0 {
			continue
		}
		switch body := r.Body.(type) { // it does not look at their lengths
		case *dnsmessage.AResource:
			if r.Header.Length != 4 {
				continue
			}
			found[owner] = append(found[owner], netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			if a := netip.AddrFrom16(body.AAAA); !a.Is4In6() && r.Header.Length == 16 {
				found[owner] = append(found[owner], a)
			}
		case *dnsmessage.CNAMEResource:
			aliases[owner] = wireName(body.CNAME)
		}
	}
	for range maxAliases {
		if alias, ok := aliases[wanted]; ok && len(found[wanted]) == 0 {
			wanted = alias
		}
	}
	return found[wanted], true
}

// wireName is a name of the other implementation as ours. Its names have no
// dots in their labels.
func wireName(n dnsmessage.Name) name {
	if n.String() == "." {
		return "\x00"
	}
	var b bytes.Buffer
	for label := range strings.SplitSeq(strings.TrimSuffix(n.String(), "."), ".") {
		b.WriteByte(byte(len(label)))
		b.WriteString(label)
	}
	b.WriteByte(0)
	return lower(b.Bytes())
}

// FuzzDecode: whatever comes, decode neither panics nor takes long, and says
// what another implementation says.
func FuzzDecode(f *testing.F) {
	host := dnsmessage.MustNewName("porch.local.")
	header := dnsmessage.ResourceHeader{Name: host, Class: dnsmessage.ClassINET, TTL: 10}
	for _, answers := range [][]dnsmessage.Resource{
		{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}}},
		{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0xfe, 0x80, 15: 7}}},
			{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}}},
		{{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("Other.porch.local.")}},
			{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("other.PORCH.local."),
				Class: dnsmessage.ClassINET | 0x8000, TTL: 10}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 8}}}},
		{{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: host}},
			{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{"x"}}}},
	} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Answers: answers,
			Questions: []dnsmessage.Question{{Name: host, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	// a name that points at itself
	f.Add([]byte("\x00\x07\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00" +
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x0a\x00\x04\x01\x02\x03\x04"))
	// one that grows
	f.Add([]byte("\x00\x07\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00" +
		"\x05porch\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x0a\x00\x04\x01\x02\x03\x04"))
	// counts without records
	f.Add([]byte("\x00\x07\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	// a length beyond the end
	f.Add([]byte("\x00\x07\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00" +
		"\x05porch\x05local\x00\x00\x01\x00\x01\x00\x00\x00\x0a\xff\xff\x01\x02\x03\x04"))
	wanted, err := newName("porch.local")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) < 2 || len(wire) > maxPacket {
			return
		}
		id := uint16(wire[0])<<8 | uint16(wire[1])
		got, err := decode(wire, id, wanted)
		want, ok := reference(wire, wanted)
		if err == nil && ok && !slices.Equal(got.addrs, want) {
			t.Errorf("got %v, another implementation %v", got.addrs, want)
		}
		if err == nil && (len(got.addrs) > 0) == (got.alias != "") {
			t.Errorf("got %v: want addresses or a name", got)
		}
		var m dnsmessage.Message
		if !ok || m.Unpack(wire) != nil {
			return
		}
		if again, err := m.Pack(); err == nil { // written by the book: this we have to read
			want, _ := reference(again, wanted)
			if got, err := decode(again, id, wanted); err != nil || !slices.Equal(got.addrs, want) {
				t.Errorf("packed again: got %v, %v, another implementation %v", got.addrs, err, want)
			}
		}
	})
}
