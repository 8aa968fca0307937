"""One message of a topic: simple.py TOPIC [CLIENT_ID], with a persistent session if it has a name."""
import os
import sys

import paho.mqtt.subscribe as subscribe

topic, client_id = sys.argv[1], (sys.argv[2:] or [""])[0]
message = subscribe.simple(
    topic, qos=1, client_id=client_id, clean_session=not client_id,
    hostname=os.environ["MQTT_HOST"], port=int(os.environ["MQTT_PORT"]),
    auth={"username": os.environ["MQTT_USER"], "password": os.environ["MQTT_PASSWORD"]},
    tls={"ca_certs": os.environ["MQTT_CA"]},
)
print(message.payload.decode())
