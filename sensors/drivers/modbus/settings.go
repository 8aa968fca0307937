package modbus

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/simonvetter/modbus"
)

// Settings say how a bus is reached. All sensors on one bus must have the same.
type Settings struct {
	Device  string        // of a serial line: "/dev/ttyUSB0"; empty for TCP
	Line    Line          // of a serial line
	Host    string        // for TCP, with a port: "192.168.1.20:502"; empty for a serial line
	Timeout time.Duration // how long an answer may take
}

// Name returns the name of the bus for messages: its device or host.
func (s Settings) Name() string { return s.Device + s.Host }

// String returns the settings in the form of the configuration, for messages.
func (s Settings) String() string {
	if s.Device != "" {
		return fmt.Sprintf("serial: %v, timeout: %v", s.Line, s.Timeout)
	}
	return fmt.Sprintf("timeout: %v", s.Timeout)
}

// A Line is how bytes are sent on a serial line.
type Line struct {
	Baud     uint
	Parity   byte // 'N', 'E' or 'O'
	StopBits uint // 1 or 2
}

// bauds are the common rates of instruments.
var bauds = []uint{1200, 2400, 4800, 9600, 14400, 19200, 38400, 57600, 115200, 230400}

// String returns the usual notation: "9600 8N1".
func (l Line) String() string { return fmt.Sprintf("%d 8%c%d", l.Baud, l.Parity, l.StopBits) }

// ParseLine parses the usual notation, "9600 8N1". Modbus RTU always has 8 data bits.
func ParseLine(text string) (Line, error) {
	baud, format, _ := strings.Cut(text, " ")
	rate, err := strconv.ParseUint(baud, 10, 32)
	if err != nil || len(format) != 3 || !strings.Contains("NEO", format[1:2]) || !strings.Contains("12", format[2:]) {
		return Line{}, fmt.Errorf("%q is not the rate, data bits, parity (N, E, O) and stop bits of a line: "+
			"write e.g. 9600 8N1", text)
	}
	if format[0] != '8' {
		return Line{}, fmt.Errorf("%q has %c data bits, and Modbus RTU has 8: write e.g. %s 8%s",
			text, format[0], baud, format[1:])
	}
	if !slices.Contains(bauds, uint(rate)) {
		return Line{}, fmt.Errorf("%s is not a rate of a serial line: write one of %s", baud,
			strings.Trim(fmt.Sprint(bauds), "[]"))
	}
	return Line{Baud: uint(rate), Parity: format[1], StopBits: uint(format[2] - '0')}, nil
}

// ParseHost adds the port of Modbus, 502, to a name or an address without one.
func ParseHost(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil { // no port, or an IPv6 address that is not in brackets
		host, port = strings.Trim(text, "[]"), "502"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if host == "" || strings.ContainsAny(host, "/ []") || err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a host with or without a port: write e.g. 192.168.1.20 or meter.lan:502", text)
	}
	return net.JoinHostPort(host, port), nil
}

// client returns the library's client for these settings, not connected yet.
func (s Settings) client() (*modbus.ModbusClient, error) {
	c := &modbus.ClientConfiguration{URL: "tcp://" + s.Host, Timeout: s.Timeout, Logger: noLog}
	if s.Device != "" {
		c.URL = "rtu://" + s.Device
		c.Speed, c.DataBits, c.StopBits = s.Line.Baud, 8, s.Line.StopBits
		c.Parity = map[byte]uint{'N': modbus.PARITY_NONE, 'E': modbus.PARITY_EVEN, 'O': modbus.PARITY_ODD}[s.Line.Parity]
	}
	return modbus.NewClient(c)
}
