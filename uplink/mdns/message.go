package mdns

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// Types of records: RFC 1035, section 3.2.2, and RFC 3596.
const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
	classIN   = 1
)

const (
	headerSize = 12  // RFC 1035, section 4.1.1
	maxName    = 255 // bytes of a name with its lengths: section 3.1
	maxLabel   = 63
	maxJumps   = 127    // by pointers in one name: as many as it can have labels
	pointer    = 0xc000 // section 4.1.4
	maxAliases = 8      // that are followed one after the other
)

// A name is as it stands in a message, uncompressed and in lower case: labels
// behind their lengths, and an empty one at the end. So two names can be
// compared, whatever bytes their labels have.
type name string

var errName = errors.New("a name has 1 to 63 bytes between two dots, and 253 in all")

// newName takes a host's name with or without the last dot.
func newName(host string) (name, error) {
	var wire []byte
	for _, label := range strings.Split(strings.TrimSuffix(host, "."), ".") {
		if len(label) == 0 || len(label) > maxLabel {
			return "", errName
		}
		wire = append(append(wire, byte(len(label))), label...)
	}
	if len(wire) >= maxName {
		return "", errName
	}
	return lower(append(wire, 0)), nil
}

// lower changes letters of ASCII only, and in place. No length is one of them:
// they end at 63.
func lower(wire []byte) name {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
	return name(wire)
}

// query asks for one type of record. Without "recursion desired": nobody
// recurses here (RFC 6762, section 18.6).
func query(id uint16, n name, kind uint16) []byte {
	m := binary.BigEndian.AppendUint16(nil, id)
	m = append(m, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) // flags, and one question
	m = append(m, n...)
	m = binary.BigEndian.AppendUint16(m, kind)
	return binary.BigEndian.AppendUint16(m, classIN)
}

// An answer is what a message says of a name.
type answer struct {
	addrs []netip.Addr
	alias name // the name to ask for instead, if there are no addresses
}

var errMessage = errors.New("not an answer to our query")

// decode reads an answer to the query with this ID. It comes from anybody in
// the network: nothing in it is trusted.
func decode(m []byte, id uint16, asked name) (answer, error) {
	if len(m) < headerSize || binary.BigEndian.Uint16(m) != id {
		return answer{}, errMessage
	}
	const response, opcode, rcode = 0x8000, 0x7800, 0x000f
	if flags := binary.BigEndian.Uint16(m[2:]); flags&(response|opcode|rcode) != response {
		return answer{}, errMessage
	}
	r := reader{m: m, at: headerSize}
	for range r.count(4) {
		r.name()
		r.skip(4) // type and class
	}
	addrs, aliases := map[name][]netip.Addr{}, map[name]name{}
	for range r.count(6) + r.count(8) + r.count(10) { // an address may be in the additional section
		r.record(addrs, aliases)
		if r.err != nil {
			return answer{}, r.err
		}
	}
	for range maxAliases {
		alias, ok := aliases[asked]
		if !ok || len(addrs[asked]) > 0 {
			break
		}
		asked = alias
	}
	if len(addrs[asked]) > 0 {
		return answer{addrs: addrs[asked]}, nil
	}
	return answer{alias: asked}, nil
}

// A reader goes through a message. After an error it reads nothing more.
type reader struct {
	m   []byte
	at  int
	err error
}

// count is one of the header's.
func (r *reader) count(at int) int { return int(binary.BigEndian.Uint16(r.m[at:])) }

// skip passes n bytes and returns them; after an error, nothing.
func (r *reader) skip(n int) []byte {
	if r.err != nil || len(r.m)-r.at < n {
		r.err = errMessage
		return nil
	}
	r.at += n
	return r.m[r.at-n : r.at]
}

// record reads one record and notes what it says.
func (r *reader) record(addrs map[name][]netip.Addr, aliases map[name]name) {
	owner := r.name()
	fixed := r.skip(10) // type, class, time to live, length
	if r.err != nil {
		return
	}
	kind, class := binary.BigEndian.Uint16(fixed), binary.BigEndian.Uint16(fixed[2:])
	begin := r.at
	data := r.skip(int(binary.BigEndian.Uint16(fixed[8:])))
	// RFC 6762, section 10.2
	const cacheFlush = 0x8000
	// 0: a goodbye, section 10.1
	if r.err != nil || class&^cacheFlush != classIN || binary.BigEndian.Uint32(fixed[4:]) == 0 {
		return
	}
	switch addr, ok := netip.AddrFromSlice(data); {
	case kind == typeA && ok && addr.Is4(), kind == typeAAAA && ok && addr.Is6() && !addr.Is4In6():
		addrs[owner] = append(addrs[owner], addr)
	case kind == typeCNAME:
		inner := reader{m: r.m, at: begin}
		aliases[owner], r.err = inner.name(), inner.err
	}
}

// name reads a name that may be compressed: RFC 1035, section 4.1.4. The number
// of pointers is bounded, so there is no circle.
func (r *reader) name() name {
	var wire []byte
	jumps, end := 0, -1 // behind the name, once a pointer was followed
	for at := r.at; r.err == nil && at < len(r.m) && jumps <= maxJumps; {
		size := int(r.m[at])
		switch {
		case size == 0 && end < 0:
			r.at = at + 1
			return lower(append(wire, 0))
		case size == 0:
			r.at = end
			return lower(append(wire, 0))
		case size <= maxLabel && at+1+size <= len(r.m) && len(wire)+1+size < maxName:
			wire = append(wire, r.m[at:at+1+size]...)
			at += 1 + size
		case size >= pointer>>8 && at+1 < len(r.m):
			if jumps++; end < 0 {
				end = at + 2
			}
			at = int(binary.BigEndian.Uint16(r.m[at:]) &^ pointer)
		default:
			at = len(r.m)
		}
	}
	r.err = errMessage
	return ""
}
