import os

import paho.mqtt.client as mqtt
from django.core.management.base import BaseCommand

from house.models import Value


def on_connect(client, userdata, flags, rc):
    client.subscribe("123456/+", qos=1)


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    Value.objects.create(client_id=client_id, stream=stream, payload=message.payload.decode())
    print(client_id, stream, message.payload.decode(), flush=True)


class Command(BaseCommand):
    help = "stores every payload as it is"

    def handle(self, **options):
        client = mqtt.Client(client_id="as-it-is", clean_session=False)
        client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
        client.tls_set(os.environ["MQTT_CA"])
        client.on_connect = on_connect
        client.on_message = on_message
        client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
        client.loop_forever()
