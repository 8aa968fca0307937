package config

import (
	"net/netip"
	"regexp"
	"strings"
)

// privateEnds are domains that do not exist in the public DNS: RFC 6762 (local), RFC 8375
// (home.arpa), RFC 6761 (localhost), the ICANN's resolution 2024.07.29.06 (internal), and
// the usual domain of home routers (lan).
var privateEnds = []string{".local", ".lan", ".home.arpa", ".internal", ".localhost"}

// isPrivate reports whether a host is in a private network by its name: an address that is
// not routed on the internet, or a name that is not in the public DNS. It makes no lookup;
// a name that looks public counts as public.
func isPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap() // ::ffff:192.168.1.7 is 192.168.1.7
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(name, ".") {
		// Some resolvers take digits such as 1572395042 for an IPv4 address.
		return name == strings.ToLower(host) && strings.Trim(name, "0123456789") != ""
	}
	for _, end := range privateEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// hostForm matches a name of letters, digits and hyphens, as in RFC 1123, section 2.1.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// isHost reports whether a text is the name or the address of a host.
func isHost(text string) bool {
	return isAddress(text) || len(text) <= 253 && hostForm.MatchString(text)
}
