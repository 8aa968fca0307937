package mdns

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// Types of records (RFC 1035, section 3.2.2, and RFC 3596, section 2.1) and the
// class of the Internet (RFC 1035, section 3.2.4).
const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
	classIN   = 1
)

const (
	headerSize = 12     // bytes: RFC 1035, section 4.1.1
	maxName    = 255    // bytes of a name with its lengths: RFC 1035, section 2.3.4
	maxLabel   = 63     // bytes of a label: RFC 1035, section 2.3.4
	maxJumps   = 127    // compression pointers followed in one name: as many as it can have labels
	pointer    = 0xc000 // the two bits that mark a compression pointer: RFC 1035, section 4.1.4
	maxAliases = 8      // CNAME records followed one after the other: a chain may be a circle
)

// A name is as it stands in a message, uncompressed and in lower case: labels
// behind their lengths, and an empty one at the end. In this form two names are
// equal if and only if they are the same to the DNS, whatever bytes their labels
// have (a label may contain a dot).
type name string

// errName is the reason why a host's name cannot be in a DNS message.
var errName = errors.New("a name has 1 to 63 bytes between two dots, and 253 in all")

// newName converts a host's name, with or without the last dot. The error is
// errName: a label is empty or too long, or the whole name is too long.
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

// lower changes the ASCII letters to lower case, in place, as names are compared
// (RFC 1035, section 2.3.3). The lengths between the labels are not changed: they
// are at most 63, and 'A' is 65.
func lower(wire []byte) name {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
	return name(wire)
}

// query encodes a question for one type of record. The bit "recursion desired" is
// not set: a multicast DNS query must not set it (RFC 6762, section 18.6). The ID
// is not zero as for multicast answers: it matches unicast answers to the query,
// see multicast.
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
	alias name // without addresses: the name to query next, or the same name if there is no CNAME record
}

// errMessage rejects a message as a whole: it is damaged, answers another query,
// or reports a failure. Which it is does not matter, as anybody may send it.
var errMessage = errors.New("not an answer to our query")

// decode reads an answer to the query for a name with this ID. Any host in the
// network may have sent it: nothing in it is trusted, and the memory that it costs
// is bounded by its size. CNAME records within the message are followed, in
// whatever order they come.
func decode(m []byte, id uint16, wanted name) (answer, error) {
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
		alias, ok := aliases[wanted]
		if !ok || len(addrs[wanted]) > 0 {
			break
		}
		wanted = alias
	}
	if len(addrs[wanted]) > 0 {
		return answer{addrs: addrs[wanted]}, nil
	}
	return answer{alias: wanted}, nil
}

// A reader decodes a message from front to end. After an error its methods return
// zero values and change nothing, so that callers check err once.
type reader struct {
	m   []byte // at least headerSize bytes
	at  int    // offset of what is read next; at most len(m)
	err error  // the first error
}

// count is one of the four counters in the header, at its offset in bytes: 4
// questions, 6 answers, 8 authorities, 10 additional records.
func (r *reader) count(at int) int { return int(binary.BigEndian.Uint16(r.m[at:])) }

// skip advances by n bytes and returns them, as a part of the message; nil after
// an error, also if there are fewer.
func (r *reader) skip(n int) []byte {
	if r.err != nil || len(r.m)-r.at < n {
		r.err = errMessage
		return nil
	}
	r.at += n
	return r.m[r.at-n : r.at]
}

// record reads one record (RFC 1035, section 4.1.3) into the maps: an address of
// its owner, or the name that its owner is an alias of. Records of other types and
// classes are skipped, and addresses with a length that does not fit their type.
func (r *reader) record(addrs map[name][]netip.Addr, aliases map[name]name) {
	owner := r.name()
	fixed := r.skip(10) // type, class, time to live, length
	if r.err != nil {
		return
	}
	kind, class := binary.BigEndian.Uint16(fixed), binary.BigEndian.Uint16(fixed[2:])
	begin := r.at
	data := r.skip(int(binary.BigEndian.Uint16(fixed[8:])))
	// The top bit of the class tells caches to drop older records, and is no part of
	// the class: RFC 6762, section 10.2.
	const cacheFlush = 0x8000
	// A time to live of 0 says that the host leaves the network: RFC 6762, section 10.1.
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

// name reads a name that may be compressed: RFC 1035, section 4.1.4. Pointers may
// lead anywhere in the message, also in a circle, so their number is bounded by
// maxJumps and the length of the name by maxName.
func (r *reader) name() name {
	var wire []byte
	jumps, end := 0, -1 // end: the offset behind the name in the record, once a pointer was followed; else -1
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
