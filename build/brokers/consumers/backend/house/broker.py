import os

import paho.mqtt.client as mqtt


def listen(client_id, topic, on_message):
    """Hands each message of a topic to on_message. The broker keeps what comes while we are away."""
    client = mqtt.Client(client_id=client_id, clean_session=False)
    client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
    client.tls_set(os.environ["MQTT_CA"])
    client.on_connect = lambda client, userdata, flags, rc: client.subscribe(topic, qos=1)
    client.on_message = on_message
    client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
    client.loop_forever()
