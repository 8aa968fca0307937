package broker

import (
	"bytes"
	"crypto/subtle"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// authHook admits clients by password. An empty password lets everybody in. It is not
// changed after the start.
type authHook struct {
	mochi.HookBase
	password string
}

// ID names the hook in the library's log.
func (d *authHook) ID() string { return "password" }

// Provides says which calls the hook wants.
func (d *authHook) Provides(hook byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnSessionEstablish}, []byte{hook})
}

// OnConnectAuthenticate lets a client in. The comparison takes the same time for
// each wrong password, so that it cannot be guessed letter by letter.
func (d *authHook) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return d.password == "" || subtle.ConstantTimeCompare(p.Connect.Password, []byte(d.password)) == 1
}

// OnSessionEstablish is called once the client is let in.
func (d *authHook) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	if c, ok := cl.Net.Conn.(*guarded); ok {
		c.admit()
	}
	// A delayed will outlives its client, and an alias keeps a topic: there is
	// no bound for the sum of either.
	cl.Properties.Will.WillDelayInterval = 0
	cl.Properties.Props.TopicAliasMaximum = 0
}
