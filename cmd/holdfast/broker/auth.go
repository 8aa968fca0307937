package broker

import (
	"bytes"
	"crypto/subtle"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// authHook accepts clients by password. An empty password accepts every client. The
// password does not change after the start.
type authHook struct {
	mochi.HookBase
	password string
}

// ID is the name of the hook in the library's log.
func (d *authHook) ID() string { return "password" }

// Provides reports which events the hook handles.
func (d *authHook) Provides(hook byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnSessionEstablish}, []byte{hook})
}

// OnConnectAuthenticate checks a client's password. The comparison takes constant time, so
// the password cannot be guessed byte by byte.
func (d *authHook) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return d.password == "" || subtle.ConstantTimeCompare(p.Connect.Password, []byte(d.password)) == 1
}

// OnSessionEstablish is called after the client was accepted.
func (d *authHook) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	if c, ok := cl.Net.Conn.(*guarded); ok {
		c.admit()
	}
	// A delayed will is stored after its client has left, and an alias stores a topic: the
	// total of neither is limited.
	cl.Properties.Will.WillDelayInterval = 0
	cl.Properties.Props.TopicAliasMaximum = 0
}
