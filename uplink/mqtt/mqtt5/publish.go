package mqtt5

import "encoding/binary"

// Properties are the properties of a PUBLISH that we use: MQTT 5, section 3.3.2.3. They must
// not change after they were passed to a function.
type Properties struct {
	Expiry        uint32 // seconds after which the broker forgets the message; 0: never
	ResponseTopic string // of a request: where the answer is to be published; empty: none
	Correlation   []byte // of a request, and the same in its answer
	User          []User
}

// A User is a user property: a name and a value of at most 65,535 bytes each.
type User struct{ Name, Value string }

// A Publication is the content of a PUBLISH packet to encode.
type Publication struct {
	Topic      string // empty: Alias stands for it
	Alias      uint16 // 0: none
	Payload    []byte
	Retain     bool
	ID         uint16 // of QoS 1; 0: QoS 0
	Properties *Properties
}

// AppendTo appends the PUBLISH: MQTT 5, section 3.3.
func (p *Publication) AppendTo(b []byte) []byte {
	head, length := byte(publish<<4), p.bodySize()
	if p.Retain {
		head |= 1
	}
	if p.ID != 0 {
		head |= 1 << 1
	}
	b = binary.AppendUvarint(append(b, head), uint64(length)) // has the form of a variable byte integer
	b = appendText(b, p.Topic)
	if p.ID != 0 {
		b = binary.BigEndian.AppendUint16(b, p.ID)
	}
	b = binary.AppendUvarint(b, uint64(p.propertiesSize()))
	if p.Alias != 0 {
		b = binary.BigEndian.AppendUint16(append(b, propTopicAlias), p.Alias)
	}
	if p.Properties != nil {
		b = p.Properties.appendTo(b)
	}
	return append(b, p.Payload...)
}

// Size returns the bytes of the PUBLISH.
func (p *Publication) Size() int {
	length := p.bodySize()
	return 1 + varintSize(length) + length
}

// bodySize returns the number of bytes after the fixed header.
func (p *Publication) bodySize() int {
	properties := p.propertiesSize()
	size := 2 + len(p.Topic) + varintSize(properties) + properties + len(p.Payload)
	if p.ID != 0 {
		size += 2
	}
	return size
}

// propertiesSize returns the bytes of the properties, without their length.
func (p *Publication) propertiesSize() (size int) {
	if p.Alias != 0 {
		size = 3
	}
	if p.Properties != nil {
		size += p.Properties.size()
	}
	return size
}

// size returns the bytes that appendTo appends.
func (p *Properties) size() (size int) {
	if p.Expiry != 0 {
		size = 5
	}
	if p.ResponseTopic != "" {
		size += 3 + len(p.ResponseTopic)
	}
	if len(p.Correlation) > 0 {
		size += 3 + len(p.Correlation)
	}
	for _, u := range p.User {
		size += 5 + len(u.Name) + len(u.Value)
	}
	return size
}

// appendTo appends the properties.
func (p *Properties) appendTo(b []byte) []byte {
	if p.Expiry != 0 {
		b = binary.BigEndian.AppendUint32(append(b, propExpiry), p.Expiry)
	}
	if p.ResponseTopic != "" {
		b = appendText(append(b, propResponseTopic), p.ResponseTopic)
	}
	if len(p.Correlation) > 0 {
		b = append(b, propCorrelation)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p.Correlation))), p.Correlation...)
	}
	for _, u := range p.User {
		b = appendText(appendText(append(b, propUser), u.Name), u.Value)
	}
	return b
}

// varintSize returns the bytes of a variable byte integer: MQTT 5, section 1.5.5.
func varintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// appendText appends the length of a string and the string: MQTT 5, section 1.5.4.
func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
