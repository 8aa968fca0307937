from django.core.management.base import BaseCommand

from house.broker import listen
from house.models import Value


def on_message(client, userdata, message):
    client_id, stream = message.topic.split("/")
    Value.objects.create(client_id=client_id, stream=stream, payload=message.payload.decode(errors="replace"))
    print(client_id, stream, message.payload.decode(errors="replace"), flush=True)


class Command(BaseCommand):
    help = "stores every payload as it is"

    def handle(self, **options):
        listen("as-it-is", "123456/+", on_message)
