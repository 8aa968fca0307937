package config

// Keys returns pointers to the structs whose yaml tags are the keys of the file, by
// the path under which they stand, with the defaults in them. Keys of the sensors
// stand under "sensors.NAME", and those of the outputs under "outputs.NAME"; those of a
// kind are with its options in package drivers. The structs are the caller's own.
//
// It is for docs/configuration.md, which build/docs makes, and for nothing else.
func Keys() map[string]any {
	f := defaults()
	return map[string]any{
		"":                       &f,
		"sensors.NAME":           &stanza{},
		"sensors.NAME.streams":   &streamKeys{},
		"sensors.NAME.calibrate": &pointKeys{},
		"sensors.NAME.valid":     &validKeys{},
		"sensors.NAME.alarm":     &limitKeys{},
		"sensors.NAME.report":    &reportKeys{},
		"outputs.NAME":           newOutputStanza(),
		"access.NAME":            newAccessStanza(),
		"rules.NAME":             &ruleKeys{},
	}
}
