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
