#!/usr/bin/env python3
"""Computes every price of an audit stream again, with nothing but Python: verify.py audit.ndjson

Reads the JSON lines of format=audit from a file or standard input. docs/method.md describes the method."""
import datetime, decimal, fileinput, json
from decimal import Decimal as D

decimal.getcontext().prec = 60  # all steps before a rounding are exact; roundings are half to even
COMPARED = ("outlier: ", "no agreement: ", "too few sources: ")
CENT = D("0.01")

def median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2

def value(bid=None, ask=None, last=None, **_):
    is_book = None not in (bid, ask) and bid <= ask and (ask - bid) * 200 <= bid + ask
    middle = (bid + ask) / 2 if is_book else last
    return middle and middle.quantize(D("1e-8"))

def agreeing(values, kept, share):
    while True:
        far = {}
        for place in kept:
            others = sorted(values[other] for other in kept if other != place)
            if others:
                middle = min(max(values[place], others[(len(others) - 1) // 2]), others[len(others) // 2])
                if abs(values[place] - middle) > middle * share:
                    far[place] = abs(values[place] - middle)
        if not far:
            return kept
        kept = [place for place in kept if far.get(place) != max(far.values())]

def agreement(values, marked, share):
    places = range(len(values))
    kept = agreeing(values, [place for place in places if not marked[place]], share)
    if kept:
        middle = median([values[place] for place in kept])
        kept += [p for p in places if marked[p] and abs(values[p] - middle) <= middle * share / 2]
    if 2 * len(kept) <= len(values) > 1 and any(marked):
        kept = agreeing(values, list(places), share / 2)
    return sorted(kept) if 2 * len(kept) > len(values) else []

def recompute(inputs, parameters, currency):
    of_currency = parameters["currencies"][currency]
    compared = [i for i in inputs if "value" in i and i.get("excluded", COMPARED[0]).startswith(COMPARED)]
    values = [i["value"] for i in compared]
    marked = [i["source"] in of_currency.get("outliers", []) for i in compared]
    kept = agreement(values, marked, D(parameters["outlier_share"]))
    if len(kept) < max(1, of_currency["min_sources"]):
        return None, None, None, {}
    middle, bound = median([values[place] for place in kept]), of_currency.get("bound")
    if bound and len(kept) == 1:
        low, high = (D(bound["previous"]) + sign * D(bound["max_move"]) for sign in (-1, 1))
    else:
        low, high = (middle + sign * middle * D(parameters["clamp_share"]) for sign in (-1, 1))
    used = {compared[place]["source"]: min(max(values[place], low), high) for place in kept}
    price = median(used.values()).quantize(CENT) or median(used.values())
    ordered, quartiles = sorted(used.values()), []
    for quarter in (1, 3):
        below, part = divmod((len(ordered) - 1) * quarter, 4)
        step = ordered[below + 1] - ordered[below] if part else D(0)
        quartiles.append(abs(ordered[below] + step * part / 4 - price))
    return price, max(quartiles).quantize(CENT), (ordered[-1] - ordered[0]).quantize(CENT), used

def check(tick):
    moment = datetime.datetime.fromisoformat(tick["timedate"].replace("Z", "+00:00"))
    assert round(moment.timestamp() * 1000) == tick["id"], "timedate"
    for currency in {i["currency"] for i in tick.get("inputs", [])} | set(tick["prices"]):
        if not tick.get("method") or "inputs" not in tick:
            continue
        inputs = [i for i in tick["inputs"] if i["currency"] == currency]
        for i in inputs:
            numbers = {key: D(i[key]) for key in ("bid", "ask", "last") if key in i}
            assert "value" not in i or i["value"] == value(**numbers), f"{currency}: the value of {i['source']}"
        stated = [str(tick.get(field, {}).get(currency)) for field in ("prices", "confidence", "spread")]
        *found, used = recompute(inputs, tick["parameters"], currency)
        assert stated == [str(number) for number in found], f"{currency}: {stated}, but the inputs give {found}"
        assert used == {i["source"]: i["used"] for i in inputs if "used" in i}, f"{currency}: used"
        assert list(used) == tick["sources"].get(currency, []), f"{currency}: sources"

last, after_gap, entries = None, None, 0
for line in fileinput.input():
    message = json.loads(line, parse_float=D, parse_int=lambda text: D(text) if len(text) < 13 else int(text))
    if message["type"] == "gap":
        after_gap = message["before"]
    if message["type"] in ("tick", "status"):
        try:
            assert message["id"] > message["prev"] and (last is None or message["id"] > last), "ids do not increase"
            assert last in (None, message["prev"]) or after_gap == message["id"], f"prev is not {last}"
            if message["type"] == "tick":
                check(message)
        except (AssertionError, KeyError) as problem:
            raise SystemExit(f"{message['id']}: {problem}")
        last, after_gap, entries = message["id"], None, entries + 1
print(f"{entries} entries fit")
