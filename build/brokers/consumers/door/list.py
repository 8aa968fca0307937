"""Prints the list that decides on the node while nobody answers."""
import base64
import hashlib
import json
import os
import pathlib

CARDS = json.loads(pathlib.Path(__file__).with_name("cards.json").read_text())
salt, rounds = os.urandom(16), 20000


def text(data):
    return base64.b64encode(data).decode()


print(f"pbkdf2-sha256:{rounds}:{text(salt)}")
for number, name in CARDS.items():
    print(f'{name}:{text(hashlib.pbkdf2_hmac("sha256", number.encode(), salt, rounds))}')
