import json
from urllib.request import urlopen

with urlopen("http://localhost:8080/v1/prices/latest") as answer:
    print(json.load(answer))
