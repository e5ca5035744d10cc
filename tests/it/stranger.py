"""Reads the feed over gRPC with what Google ships, and code that it generates from the proto file: a client that has
nothing in common with the server under test. The tests in tests/it/stranger.rs run it.

    stranger.py look HOST:PORT    look at everything, and fail where something is not as promised
    stranger.py follow HOST:PORT [ID]    print the id of each entry after ID, and at the end the status
"""

import importlib
import pathlib
import sys
import tempfile
import time
from decimal import Decimal

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).parents[2] / "proto"
SOON = 45  # seconds


def generate(out):
    """The modules that grpcio-tools makes of the proto file, in this folder."""
    file = PROTO / "btcfeed/v1/price_feed.proto"
    well_known = pathlib.Path(importlib.import_module("grpc_tools").__file__).parent / "_proto"
    arguments = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", str(file)]
    assert protoc.main(["protoc", *arguments]) == 0, "the proto file was refused"
    sys.path.insert(0, out)
    names = ["btcfeed.v1.price_feed_pb2", "btcfeed.v1.price_feed_pb2_grpc"]
    return [importlib.import_module(name) for name in names]


def entries(stream, count):
    """The next ticks and statuses, after a check that each follows on the one before it."""
    found = []
    for message in stream:
        kind = message.WhichOneof("update")
        if kind == "synced":
            continue
        entry = {"tick": message.tick, "status": message.status}[kind]
        assert not found or entry.prev == found[-1].id, f"the chain is broken at {entry}"
        found.append(entry)
        if len(found) == count:
            stream.cancel()
            return found
    raise AssertionError("the stream ended")


def refused(code, call):
    """The error of a call that must be refused with this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"not {code}: {error}"
        return error
    raise AssertionError(f"not refused with {code}")


def look(address, pb, services):
    channel = grpc.insecure_channel(address)
    feed = services.PriceFeedStub(channel)
    both = ["USD", "EUR"]

    tick = feed.GetLatest(pb.GetLatestRequest(currencies=both), timeout=SOON, wait_for_ready=True).tick
    assert [price.currency for price in tick.prices] == both, tick
    assert tick.time.ToMilliseconds() == tick.id and tick.time.ToJsonString().endswith("Z"), tick
    for price in tick.prices:
        assert str(Decimal(price.value)) == price.value and 80000 < Decimal(price.value) < 100000, price
        # On a busy machine one may have been late.
        assert price.sources and set(price.sources) <= {"coinbase", "kraken", "bitstamp"}, price

    # From the beginning, from a moment, after an id, and live beyond what there was.
    first = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, after=0), timeout=SOON), 6)
    since = Timestamp()
    since.FromMilliseconds(first[2].id)
    again = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, since=since), timeout=SOON), 4)
    assert again == first[2:], "since"
    again = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, after=first[2].id), timeout=SOON), 3)
    assert again == first[3:], "after"
    live = entries(feed.Subscribe(pb.SubscribeRequest(currencies=["EUR"]), timeout=SOON), 4)
    assert live[0].id > first[2].id and [price.currency for price in live[-1].prices] == ["EUR"], live
    hello = next(iter(feed.Subscribe(pb.SubscribeRequest(hello=True), timeout=SOON))).hello
    assert list(hello.currencies) == both and hello.interval.ToMilliseconds() == 200, hello

    # The history, page by page.
    request, listed = pb.ListPricesRequest(currencies=both, page_size=2), []
    while len(listed) < 6:
        page = feed.ListPrices(request, timeout=SOON)
        listed += [entry.tick if entry.HasField("tick") else entry.status for entry in page.entries]
        request.page_token = page.next_page_token
    assert listed[:6] == first, "the history is not what was streamed"

    # Errors, with their details.
    wrong = feed.Subscribe(pb.SubscribeRequest(currencies=["GBP"]), timeout=SOON)
    error = refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: next(wrong))
    assert error.details() == 'a currency reads USD or EUR, got "GBP"', error.details()
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"type.googleapis.com/google.rpc.BadRequest" in details and b"currencies[0]" in details, details
    unknown = channel.unary_unary("/btcfeed.v1.PriceFeed/Unsubscribe")
    refused(grpc.StatusCode.UNIMPLEMENTED, lambda: unknown(b""))
    gzip = {"compression": grpc.Compression.Gzip, "timeout": SOON}
    refused(grpc.StatusCode.UNIMPLEMENTED, lambda: feed.GetLatest(pb.GetLatestRequest(currencies=both * 100), **gzip))
    slow = feed.Subscribe(pb.SubscribeRequest(), timeout=1)
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(slow))

    # Twenty streams on one connection get the same.
    streams = [feed.Subscribe(pb.SubscribeRequest(currencies=both, after=0), timeout=SOON) for _ in range(20)]
    assert all(entries(stream, 6) == first for stream in streams), "streams differ"

    health = health_pb2_grpc.HealthStub(channel)
    for service in ["", "btcfeed.v1.PriceFeed"]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SOON)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=SOON)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()

    reflection = ProtoReflectionDescriptorDatabase(channel)
    listed = reflection.get_services()
    assert {"btcfeed.v1.PriceFeed", "grpc.health.v1.Health"} <= set(listed), listed
    described = reflection.FindFileContainingSymbol("btcfeed.v1.PriceFeed")
    assert [method.name for method in described.service[0].method] == ["Subscribe", "GetLatest", "ListPrices"]


def follow(address, pb, services, after="0"):
    """Prints ids until the stream ends, and then why."""
    feed = services.PriceFeedStub(grpc.insecure_channel(address))
    try:
        for message in feed.Subscribe(pb.SubscribeRequest(after=int(after)), wait_for_ready=True):
            kind = message.WhichOneof("update")
            if kind in ("tick", "status"):
                entry = getattr(message, kind)
                print(f"{entry.prev} {entry.id}", flush=True)
            elif kind == "gap":
                print(f"gap {message.gap}", flush=True)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", flush=True)


if __name__ == "__main__":
    what, address, *more = sys.argv[1:]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        modules = generate(out)
    {"look": look, "follow": follow}[what](address, *modules, *more)
    print(f"ok after {time.monotonic() - began:.1f} s")
