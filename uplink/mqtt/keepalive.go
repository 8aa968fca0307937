package mqtt

import (
	"encoding/binary"
	"fmt"
	"time"
)

// pingRequest is the PINGREQ packet: MQTT 3.1.1, section 3.12.
var pingRequest = []byte{packetPingreq << 4, 0}

// setKeepAlive writes the keepalive into a CONNECT packet of the library's: MQTT
// 3.1.1, section 3.1.2.10. The library has none, see clientOptions. It leaves any
// other packet as it is.
func setKeepAlive(packet []byte, keepAlive time.Duration) {
	if len(packet) == 0 || packet[0]>>4 != packetConnect {
		return
	}
	const behindLength = len("\x00\x04MQTT") + 2 // the name of the protocol, its level, the flags
	_, n := binary.Uvarint(packet[1:])
	if at := 1 + n + behindLength; n > 0 && len(packet) >= at+2 {
		binary.BigEndian.PutUint16(packet[at:], uint16(keepAlive/time.Second))
	}
}

// ping sends a PINGREQ each keepalive until the outbox is closed, and ends the
// connection if the one before was not answered. The library would look every 5 s
// whether one is due, and each look wakes the processor.
func (w *wire) ping() {
	if w.keepAlive <= 0 {
		return
	}
	tick := time.NewTicker(w.keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.ended:
			return
		}
		if w.pinged.Swap(true) {
			w.failed(fmt.Errorf("the broker does not answer: no PINGRESP in %v", w.keepAlive))
			return
		}
		if _, err := w.queuePacket(pingRequest); err != nil {
			return
		}
	}
}
