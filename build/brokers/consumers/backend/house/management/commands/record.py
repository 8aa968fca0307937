import json

from django.core.management.base import BaseCommand
from django.db import DataError

from house.broker import listen
from house.models import Reading


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    try:
        payload = json.loads(message.payload)
        Reading.objects.get_or_create(
            client_id=client_id, stream=stream, boot=str(payload["boot"]), seq=int(payload["seq"]),
            defaults={"payload": payload},
        )
    except (ValueError, TypeError, KeyError, OverflowError, DataError):
        return  # another program's: homeassistant/status has two levels, too
    print(client_id, stream, message.payload.decode(errors="replace"), flush=True)


class Command(BaseCommand):
    help = "stores every reading"

    def handle(self, **options):
        listen("backend", "+/+", on_message)
