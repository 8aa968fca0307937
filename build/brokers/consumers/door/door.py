"""Opens the door for cards that are in a table."""
import json
import os
import pathlib

import paho.mqtt.client as mqtt

CARDS = json.loads(pathlib.Path(__file__).with_name("cards.json").read_text())


def on_connect(client, userdata, flags, rc):
    client.subscribe("+/card", qos=1)


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    try:
        reading = json.loads(message.payload)
        number, question = str(reading["value"]), f'{reading["boot"]}:{reading["seq"]}'
    except (ValueError, TypeError, KeyError):
        return  # another program's
    if number in CARDS:
        order = {"state": "ON", "for": "1s", "id": question}
        client.publish(f"{client_id}/lock/set", json.dumps(order), qos=1)
    print(client_id, question, CARDS.get(number, "nobody"), flush=True)


client = mqtt.Client(client_id="door", clean_session=False)
client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
client.tls_set(os.environ["MQTT_CA"])
client.on_connect = on_connect
client.on_message = on_message
client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
client.loop_forever()
