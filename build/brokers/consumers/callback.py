"""Every reading, in one call."""
import os

import paho.mqtt.subscribe as subscribe


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    print(client_id, stream, message.payload.decode(errors="replace"), flush=True)


subscribe.callback(
    on_message, "+/+", qos=1, client_id="callback", clean_session=False,
    hostname=os.environ["MQTT_HOST"], port=int(os.environ["MQTT_PORT"]),
    auth={"username": os.environ["MQTT_USER"], "password": os.environ["MQTT_PASSWORD"]},
    tls={"ca_certs": os.environ["MQTT_CA"]},
)
