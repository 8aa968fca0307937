"""Home Assistant's birth: two levels, and no reading."""
import os

import paho.mqtt.publish as publish

publish.single(
    "homeassistant/status", "online", qos=1,
    hostname=os.environ["MQTT_HOST"], port=int(os.environ["MQTT_PORT"]),
    auth={"username": os.environ["MQTT_USER"], "password": os.environ["MQTT_PASSWORD"]},
    tls={"ca_certs": os.environ["MQTT_CA"]},
)
