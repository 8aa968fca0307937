package config

import (
	"net/netip"
	"regexp"
	"strings"
)

// privateEnds are domains that nobody can have in the public DNS: RFC 6762
// (local), RFC 8375 (home.arpa), RFC 6761 (localhost), the ICANN's resolution
// 2024.07.29.06 (internal), and what routers call their network (lan).
var privateEnds = []string{".local", ".lan", ".home.arpa", ".internal", ".localhost"}

// isPrivate reports whether a host is near by what it is called: an address
// that no router of the internet forwards, or a name that its DNS does not
// have. Nobody is asked; a name that looks public counts as public.
func isPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap() // ::ffff:192.168.1.7 is 192.168.1.7
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(name, ".") {
		// Digits alone, as in 1572395042, are an IPv4 address to some resolvers.
		return name == strings.ToLower(host) && strings.Trim(name, "0123456789") != ""
	}
	for _, end := range privateEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// hostForm is a name of letters, digits and hyphens as RFC 1123, section 2.1, has
// it.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// isHost reports whether a text is the name or the address of a host.
func isHost(text string) bool {
	return isAddress(text) || len(text) <= 253 && hostForm.MatchString(text)
}
