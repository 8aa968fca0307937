package uplink

import (
	"context"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// DialMQTT returns a [Dial] that speaks MQTT 3.1.1 to the first of the broker's
// servers that answers.
func DialMQTT(broker mqtt.Broker) Dial {
	d := mqtt.NewDialer(broker)
	return func(ctx context.Context, will mqtt.Message) (Conn, error) {
		conn, err := d.Dial(ctx, will)
		if err != nil {
			return nil, err // and no Conn that is a nil pointer
		}
		return conn, nil
	}
}
