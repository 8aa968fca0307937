package driver

import "github.com/holdfast-iot/holdfast/sensors"

// The quantities that several kinds measure, as Home Assistant names and writes them.
var (
	Humidity      = sensors.Quantity{Name: "humidity", Unit: "%", Class: "humidity"}
	Temperature   = sensors.Quantity{Name: "temperature", Unit: "°C", Class: "temperature"}
	Pressure      = sensors.Quantity{Name: "pressure", Unit: "hPa", Class: "pressure"}
	CarbonDioxide = sensors.Quantity{Name: "carbon_dioxide", Unit: "ppm", Class: "carbon_dioxide"}
	Illuminance   = sensors.Quantity{Name: "illuminance", Unit: "lx", Class: "illuminance"}
	Voltage       = sensors.Quantity{Name: "voltage", Unit: "V", Class: "voltage"}
	Current       = sensors.Quantity{Name: "current", Unit: "A", Class: "current"}
	Power         = sensors.Quantity{Name: "power", Unit: "W", Class: "power"}
)
