// Package modbus reads registers of instruments by Modbus RTU on a serial line, or by Modbus TCP,
// also through a gateway to such a line.
//
// All sensors on one line or behind one host share a [Bus], which makes one request at a time, as
// the protocol requires. A bus connects at its first request. After a failure it is closed, and the
// next request opens it again; see [Bus.Read].
//
// github.com/simonvetter/modbus encodes the frames. It does not support contexts: a request ends
// after its timeout at the latest, and a connection attempt after five seconds.
package modbus
