package jetstream

import "strings"

// topic returns the MQTT topic of a subject of the stream. The gateway writes "." in
// place of "/" and "//" in place of ".". A "/" that is the first or last character, or
// stands beside another one, is a level without a name: "/." at its begin, "./" at its
// end.
func topic(subject string) string {
	rest := strings.TrimPrefix(subject, prefix)
	// Only these two characters are rewritten: most subjects are as long as their topic.
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
