import os

SECRET_KEY = "it serves no page"
INSTALLED_APPS = ["house"]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["HOUSE_DB"],
    "OPTIONS": {"timeout": 30},  # seconds: two commands write to it
}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
