package homeassistant

import "github.com/holdfast-iot/holdfast/sensors"

// The templates for plain payloads. The word for a failed read is payload.Unavailable.
// "None" is what all platforms of Home Assistant's MQTT show as unknown; an empty message
// is a retained state that was cleared.
const (
	plainTemplate  = "{{ 'None' if value == 'unavailable' else value }}"
	plainAvailable = "{{ 'offline' if value in ('', 'unavailable') else 'online' }}"
	plainFault     = "{{ 'ON' if value == 'unavailable' else 'OFF' }}"
)

// plain changes the entity of a stream whose state is the bare value or word: there is
// nothing to take it out of, and a stream of two states says its words, not 0 and 1.
func (c *component) plain(s sensors.Stream) {
	for _, template := range []*string{&c.ValueTemplate, &c.StateTemplate} {
		if *template != "" {
			*template = plainTemplate
		}
	}
	for i := range c.Availability {
		if c.Availability[i].ValueTemplate != "" {
			c.Availability[i].ValueTemplate = plainAvailable
		}
	}
	if len(s.States) != 2 {
		return
	}
	for _, state := range []*string{&c.PayloadOff, &c.PayloadOn, &c.StateOff, &c.StateOn, &c.StateClosed,
		&c.StateOpen} {
		switch *state {
		case "0":
			*state = s.States[0]
		case "1":
			*state = s.States[1]
		}
	}
}
