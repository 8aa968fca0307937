package sensors

// maxName is how many bytes a name may have.
const maxName = 64

// IsName reports whether a client, a sensor, a stream or a quantity may have this
// name: 1 to 64 of A-Z, a-z, 0-9, _ and -. Names go into topics, so they have none
// of their special characters, and no dot, which the agent's own entities have; and
// into names of files.
//
// It is a loop because a regular expression with {1,64} takes a thousand
// allocations to compile, at each start of any command.
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
