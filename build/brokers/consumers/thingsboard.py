"""Hands every reading over to ThingsBoard's gateway API, where each node is a device."""
import json
import os

import paho.mqtt.client as mqtt

board = mqtt.Client(client_id="holdfast-gateway", clean_session=False)
# The access token of a device that is a gateway; a password only with MQTT Basic credentials.
board.username_pw_set(os.environ["TB_TOKEN"], os.environ.get("TB_PASSWORD"))
board.tls_set(os.environ.get("TB_CA"))


def on_connect(client, userdata, flags, rc):
    client.subscribe("+/+", qos=1)


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    try:
        reading = json.loads(message.payload)
        ts, value = reading["ts"], reading["value"]
    except (ValueError, TypeError, KeyError):
        return  # another program's
    if value is not None:  # None: the sensor could not be read
        telemetry = {client_id: [{"ts": ts, "values": {stream: reading.get("state", value)}}]}
        # paho acknowledges the reading when this function returns: not before ThingsBoard has it.
        board.publish("v1/gateway/telemetry", json.dumps(telemetry), qos=1).wait_for_publish()
    print(client_id, stream, message.payload.decode(errors="replace"), flush=True)


board.connect(os.environ["TB_HOST"], int(os.environ["TB_PORT"]))
board.loop_start()
client = mqtt.Client(client_id="to-thingsboard", clean_session=False)
client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
client.tls_set(os.environ["MQTT_CA"])
client.on_connect = on_connect
client.on_message = on_message
client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
client.loop_forever()
