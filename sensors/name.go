package sensors

// maxName is how many bytes a name may have.
const maxName = 64

// IsName reports whether s is a valid name of a client, a sensor, a stream or a quantity:
// 1 to 64 of the characters A-Z, a-z, 0-9, _ and -. Names are parts of topics and of file
// names, so the special characters of both are excluded. The dot is reserved for the
// agent's own entities.
//
// It is a loop because a regular expression with {1,64} takes a thousand allocations to
// compile, at each start of any command.
func IsName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxName
}
