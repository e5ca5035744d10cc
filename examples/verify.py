#!/usr/bin/env python3
"""Computes every price of an audit stream again, with nothing but Python: verify.py audit.ndjson

Reads the JSON lines of format=audit from a file or standard input. docs/method.md describes the method."""
import datetime, decimal, fileinput, json, statistics
from decimal import Decimal as D

decimal.getcontext().prec = 60  # all steps before a rounding are exact; roundings are half to even
COMPARED = ("outlier: ", "no agreement: ", "too few sources: ")  # why a value is left out after a comparison
MISSING = ("history_expired", "history_lost", "replay_limit")  # gaps in which entries are missing

def value(bid=None, ask=None, last=None, **_):
    is_book = None not in (bid, ask) and bid <= ask and (ask - bid) * 200 <= bid + ask
    middle = (bid + ask) / 2 if is_book else last
    return middle and middle.quantize(D("1e-8"))

def agreeing(values, kept, share):
    def excess(name):
        others = sorted(values[other] for other in kept if other != name) or [values[name]]
        middle = min(max(values[name], others[(len(others) - 1) // 2]), others[len(others) // 2])
        far = abs(values[name] - middle)
        return far if far > middle * share else 0
    while kept and (farthest := max(map(excess, kept))):
        kept = [name for name in kept if excess(name) < farthest]
    return kept

def agreement(values, outliers, share):
    kept = agreeing(values, [name for name in values if name not in outliers], share)
    if kept:
        middle = statistics.median(values[name] for name in kept)
        returning = {name for name in outliers & values.keys() if abs(values[name] - middle) <= middle * share / 2}
        kept = [name for name in values if name in kept or name in returning]
    if 2 * len(kept) <= len(values) > 1 and outliers & values.keys():
        kept = agreeing(values, list(values), share / 2)
    return kept if 2 * len(kept) > len(values) else []

def recompute(inputs, parameters, currency):
    own = parameters["currencies"][currency]
    compared = [i for i in inputs if "value" in i and i.get("excluded", COMPARED[0]).startswith(COMPARED)]
    values = {i["source"]: i["value"] for i in compared}
    kept = agreement(values, set(own.get("outliers", [])), D(parameters["outlier_share"]))
    if len(kept) < max(1, own["min_sources"]):
        return None, None, None, {}
    middle, bound = statistics.median(values[name] for name in kept), own.get("bound")
    reach = middle * D(parameters["clamp_share"])
    if bound and len(kept) == 1:
        middle, reach = D(bound["previous"]), D(bound["max_move"])
    used = {name: min(max(values[name], middle - reach), middle + reach) for name in kept}
    ordered = sorted(used.values())
    median = statistics.median(ordered)
    price = median.quantize(D("0.01")) or median
    low, _, high = statistics.quantiles(ordered * (2 if len(ordered) == 1 else 1), n=4, method="inclusive")
    confidence = max(abs(low - price), abs(high - price))
    return price, confidence.quantize(D("0.01")), (ordered[-1] - ordered[0]).quantize(D("0.01")), used

def check(tick):
    moment = datetime.datetime.fromisoformat(tick["timedate"].replace("Z", "+00:00"))
    assert round(moment.timestamp() * 1000) == tick["id"], "timedate"
    if not tick.get("method") or "inputs" not in tick:
        return 0
    stated = (tick.get(field, {}) for field in ("prices", "confidence", "spread", "sources"))
    for currency in {i["currency"] for i in tick["inputs"]}.union(*stated):
        inputs = [i for i in tick["inputs"] if i["currency"] == currency]
        for i in inputs:
            assert i.get("value") in (None, value(**i)), f"{currency}: the value of {i['source']}"
        *found, used = recompute(inputs, tick["parameters"], currency)
        stated = [tick.get(field, {}).get(currency) for field in ("prices", "confidence", "spread")]
        assert [*map(str, stated)] == [*map(str, found)], f"{currency}: {stated}, but the inputs give {found}"
        assert used == {i["source"]: i["used"] for i in inputs if "used" in i}, f"{currency}: used"
        assert list(used) == tick["sources"].get(currency, []), f"{currency}: sources"
    return len(tick["prices"])

last, gap, entries, prices = None, None, 0, 0
for line in fileinput.input():
    message = json.loads(line, parse_float=D, parse_int=D)
    if message["type"] == "gap" and message["reason"] in MISSING:
        gap = message["after"], message["before"]
    if message["type"] == "gap" and message["reason"] == "unknown_client_id":
        gap = last, message["before"]  # the server does not know the last entry, but we do
    if message["type"] in ("tick", "status"):
        number, prev = message["id"], message["prev"]
        try:
            assert number > prev and (last is None or number > last), "ids do not increase"
            assert last in (None, prev) or gap == (last, number), f"prev is not {last}"
            prices += check(message) if message["type"] == "tick" else 0
        except (AssertionError, KeyError) as problem:
            raise SystemExit(f"{number}: {problem}")
        last, gap, entries = number, None, entries + 1
print(f"{entries} entries checked, {prices} prices computed again")
raise SystemExit(0 if prices else 3)
