"""A small Django back end: manage.py migrate --run-syncdb, then manage.py record."""
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "house.settings")
execute_from_command_line(sys.argv)
