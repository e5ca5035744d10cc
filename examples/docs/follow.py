# pip install PATH/sdk/python
from btcfeed import Gap, SyncFeed, Tick

with SyncFeed("http://localhost:8080", currencies=["USD", "EUR"]) as feed:
    for update in feed:
        if isinstance(update, Tick):
            print(update.time, update.prices, flush=True)
        elif isinstance(update, Gap):
            print("missing", update.after, update.before, update.reason, flush=True)
