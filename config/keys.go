package config

// Keys returns pointers to the structs whose yaml tags are the keys of the file, by their
// path, with the default values. Keys of the sensors are under "sensors.NAME", those of the
// outputs under "outputs.NAME"; those of a kind are in its options in package drivers. The
// caller owns the structs.
//
// It is only for docs/configuration.md, which build/docs generates.
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
