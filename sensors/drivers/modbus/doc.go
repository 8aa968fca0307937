// Package modbus reads the registers of field instruments by Modbus RTU on a serial line,
// or by Modbus TCP, which is also how a gateway to such a line is asked.
//
// All sensors on one line or behind one host share a [Bus]: one request at a time, as the
// protocol demands. A bus connects with its first request. After a failure it is closed, and
// the next request opens it again; see [Bus.Read].
//
// The frames are those of github.com/simonvetter/modbus. It takes no context: a request ends
// after its timeout at the latest, and a connection after five seconds.
package modbus
