from django.db import models


class Reading(models.Model):
    client_id = models.CharField(max_length=64)
    stream = models.CharField(max_length=64)
    boot = models.CharField(max_length=32)
    seq = models.BigIntegerField()
    payload = models.JSONField()

    class Meta:
        # At least once means that a reading may come twice. This is the key that tells.
        unique_together = ["client_id", "stream", "boot", "seq"]


class Value(models.Model):
    """What a tutorial's back end stores: 123456, hum, 45.2. For payloads that are plain."""

    client_id = models.CharField(max_length=64)
    stream = models.CharField(max_length=64)
    payload = models.TextField()
    received_at = models.DateTimeField(auto_now_add=True)
