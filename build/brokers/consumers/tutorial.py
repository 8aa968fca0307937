"""Every reading, with a client of one's own."""
import os

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, rc):
    client.subscribe("+/+", qos=1)  # two levels: readings


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    print(client_id, stream, message.payload.decode(errors="replace"), flush=True)


# A name of its own and clean_session=False: the broker keeps what comes while we are away.
client = mqtt.Client(client_id="tutorial", clean_session=False)
client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
client.tls_set(os.environ["MQTT_CA"])
client.on_connect = on_connect
client.on_message = on_message
client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
client.loop_forever()
