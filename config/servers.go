package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ports are the default ports of the schemes, as registered with IANA for MQTT and as usual
// for the web.
var ports = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// tlsScheme maps each scheme without TLS to the one with TLS.
var tlsScheme = map[string]string{"mqtt": "mqtts", "ws": "wss"}

// schemeAliases are schemes of other programs.
var schemeAliases = map[string]string{
	"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "mqtt+ssl": "mqtts",
	"http": "ws", "https": "wss",
}

// servers returns the URLs of `server` or `servers`, exactly one of which is needed. The
// agent tries them in this order.
func (r *mqttReader) servers(m mqttKeys) []*url.URL {
	// A key that is missing because of another error is not reported again.
	switch one, many := r.has("mqtt.server"), r.has("mqtt.servers"); {
	case one && many:
		r.failKey("mqtt.servers", `cannot be used together with "server": write one of the two`)
	case one:
		return r.server(nil, "mqtt.server", m.Server)
	case many:
		return r.serverList(m.Servers)
	case !r.bad["mqtt"] && !r.bad["mqtt.server"] && !r.bad["mqtt.servers"]:
		r.failKey("mqtt", `needs "server", such as mqtts://broker.example.com, or "embedded"`)
	}
	return nil
}

// serverList reads the list of `servers`. The embedded broker cannot be one of several,
// because the agent would need two backlogs.
func (r *mqttReader) serverList(texts []string) (all []*url.URL) {
	if len(texts) == 0 && !r.bad["mqtt.servers"] {
		r.failValue("mqtt.servers", "needs one server or more")
	}
	// Each is checked, so that all errors of the list are reported at once.
	for i, text := range texts {
		path := fmt.Sprintf("mqtt.servers[%d]", i)
		if text == "embedded" {
			r.failValue(path, `the embedded broker cannot be one of several: write "server: embedded"`)
			continue
		}
		all = r.server(all, path, text)
	}
	return all
}

// server appends the URL in text, unless it is wrong or the password would be sent
// unencrypted to a host that is not private.
func (r *mqttReader) server(all []*url.URL, path, text string) []*url.URL {
	if r.bad[path] {
		return all
	}
	// A scheme without TLS is allowed in a private network, and without a password.
	u, err := parseServer(text)
	if err != nil {
		r.failValue(path, "%v", err)
		return all
	}
	if secure := tlsScheme[u.Scheme]; r.guarded && secure != "" && !isPrivate(u.Hostname()) {
		r.failValue(path, "the password would travel in plain text to %s, which is not a private address: "+
			"write %s://, or allow_plaintext: true under mqtt if you trust all that is between", u.Hostname(), secure)
	}
	return append(all, u)
}

// parseServer parses the URL of a broker, SCHEME://HOST[:PORT][/PATH] with a path only for
// WebSocket. The result always has a port. A user, a password, a query and a fragment are
// rejected, because they would be in logs. Its errors contain nothing of the text: users
// write passwords there ("server: porch:SECRET").
func parseServer(text string) (*url.URL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme) // RFC 3986, section 3.1
	// Possible secrets are checked first, so that no later error repeats one.
	switch {
	case text == "":
		return nil, errors.New("needs an address, such as mqtts://broker.example.com")
	case strings.Contains(text, "@"):
		return nil,
			errors.New("an address cannot have a user or a password: write username and password_file beside it")
	case strings.ContainsAny(text, "?#"):
		return nil, errors.New("an address cannot have a query or a fragment: all options are keys of this file")
	case !found:
		return nil, errors.New("this is not the address of a broker: " +
			"write mqtts://HOST or mqtts://HOST:PORT (or mqtt, wss, ws)")
	case ports[scheme] == "":
		return nil, unknownScheme(scheme)
	}
	// url.Parse accepts far more than can be dialled, so the host is checked here.
	authority, path, _ := strings.Cut(rest, "/")
	if problem := authorityProblem(scheme, authority); problem != "" {
		return nil, errors.New(problem)
	}
	if path != "" && scheme[0] == 'm' {
		return nil, errors.New("MQTT has no path: end the address at the port")
	}
	if address, zone, zoned := strings.Cut(authority, "%"); zoned { // zone of a link-local address: RFC 6874
		authority = address + "%25" + strings.TrimPrefix(zone, "25")
	}
	u, err := url.Parse(scheme + "://" + authority + rest[min(len(rest), strings.IndexByte(rest+"/", '/')):])
	if err != nil {
		return nil, fmt.Errorf("this is not an address: write %s://HOST or %[1]s://HOST:PORT", scheme)
	}
	// Dialling needs a port, and so does the log.
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), ports[scheme])
	}
	return u, nil
}

// splitPort splits HOST:PORT at the last colon. Colons in brackets belong to an IPv6
// address.
func splitPort(authority string) (host, port string) {
	// "[::1]" ends with a bracket and has no port.
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}

// authorityProblem returns what is wrong with HOST or HOST:PORT, if anything is. If it
// returns "", the host can be looked up and dialled.
func authorityProblem(scheme, authority string) string {
	// From the most certain error to the least certain one.
	host, port := splitPort(authority)
	if isDigits(port) && !isPort(port) {
		return "the port must be between 1 and 65535"
	}
	address, bracketed := strings.CutPrefix(host, "[")
	switch bare, err := netip.ParseAddr(authority); {
	case strings.Contains(authority, ","):
		return "this is more than one address: write servers: [mqtts://HOST, mqtts://HOST]"
	case bracketed:
		ip, err := netip.ParseAddr(strings.Replace(strings.TrimSuffix(address, "]"), "%25", "%", 1))
		if err != nil || !ip.Is6() || !strings.HasSuffix(address, "]") {
			return "what stands in brackets is not an IPv6 address"
		}
	case err == nil && bare.Is6(), strings.Contains(host, ":") && isAddress(host):
		return fmt.Sprintf("an IPv6 address stands in brackets: write %s://[ADDRESS] or %[1]s://[ADDRESS]:PORT", scheme)
	case host == "", port != "" && !isDigits(port):
		return fmt.Sprintf("this is not an address: write %s://HOST or %[1]s://HOST:PORT", scheme)
	default:
		return hostProblem(host)
	}
	return ""
}

// hostProblem returns why a host can be neither a name nor an IPv4 address, "" if it can.
// It makes no lookup, because there may be no network yet.
func hostProblem(host string) string {
	if isAddress(host) {
		return ""
	}
	name := strings.TrimSuffix(host, ".") // a name may end with a dot (the DNS root)
	switch label := name[strings.LastIndexByte(name, '.')+1:]; {
	case strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }):
		return "the name of the host has a letter outside of ASCII: " +
			"write it as the DNS has it, such as xn--bcher-kva.example"
	case !isHost(strings.ReplaceAll(name, "_", "x")): // names of containers and Windows machines may have _
		return "the name of the host has a character that is not allowed in names, or an empty part"
	case isDigits(label):
		return "the host looks like an IPv4 address and is not a valid one: four numbers from 0 to 255"
	}
	return ""
}

// unknownScheme suggests a scheme: that of another program for the same protocol, or one
// with a similar spelling.
func unknownScheme(scheme string) error {
	if m := schemeAliases[scheme]; m != "" {
		return fmt.Errorf("%s:// is written %s:// here", scheme, m)
	}
	known := slices.Sorted(maps.Keys(ports)) // sorted, so that the error is always the same
	if m := similar(scheme, known); m != "" {
		return fmt.Errorf("unknown scheme (did you mean %s://?)", m)
	}
	return fmt.Errorf("unknown scheme; known are %s", strings.Join(known, ", "))
}

// isAddress reports whether a text is an IPv4 or an IPv6 address, without brackets.
func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// isDigits reports whether a text has only digits.
func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// isPort reports whether a text is a valid port number.
func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && isDigits(text) && n >= 1 && n <= 65535
}
