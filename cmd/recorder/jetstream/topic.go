package jetstream

import "strings"

// topic returns the MQTT topic of a subject of the stream. The gateway writes "/" as ".", and
// "." as "//". An empty level is written as "/": a topic that begins with "/" becomes "/.", one
// that ends with "/" becomes "./".
func topic(subject string) string {
	rest := strings.TrimPrefix(subject, prefix)
	var b strings.Builder
	b.Grow(len(rest))
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '.':
			b.WriteByte('/')
		case rest[i] != '/':
			b.WriteByte(rest[i])
		case i+1 == len(rest):
			// The end of "a./": the "." before it was the separator.
		case rest[i+1] == '/':
			b.WriteByte('.')
			i++
		case rest[i+1] == '.':
			b.WriteByte('/')
			i++
		}
	}
	return b.String()
}
