"""A gRPC client made of Google's grpcio and the code that it generates from the proto file. It shares no code with the
server. tests/it/interop.rs runs it.

    grpc_client.py check HOST:PORT          check every method, and fail if one does not behave as documented
    grpc_client.py follow HOST:PORT [ID]    print `prev` and `id` of each entry after ID, and the gRPC error at the end
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

PROTO = pathlib.Path(__file__).parents[3] / "proto"
TIMEOUT_S = 45


def generate(out):
    """Generates modules from the proto file into the folder `out`, and returns the modules."""
    file = PROTO / "btcfeed/v1/price_feed.proto"
    well_known = pathlib.Path(importlib.import_module("grpc_tools").__file__).parent / "_proto"
    arguments = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", str(file)]
    assert protoc.main(["protoc", *arguments]) == 0, "protoc rejected the proto file"
    sys.path.insert(0, out)
    names = ["btcfeed.v1.price_feed_pb2", "btcfeed.v1.price_feed_pb2_grpc"]
    return [importlib.import_module(name) for name in names]


def entries(stream, count):
    """Returns the next `count` ticks and statuses. Each must follow the one before it."""
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


def rejected(code, call):
    """Returns the error of a call, which must fail with this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"not {code}: {error}"
        return error
    raise AssertionError(f"the call did not fail with {code}")


def check(address, pb, services):
    channel = grpc.insecure_channel(address)
    feed = services.PriceFeedStub(channel)
    both = ["USD", "EUR"]

    tick = feed.GetLatest(pb.GetLatestRequest(currencies=both), timeout=TIMEOUT_S, wait_for_ready=True).tick
    assert [price.currency for price in tick.prices] == both, tick
    assert tick.time.ToMilliseconds() == tick.id and tick.time.ToJsonString().endswith("Z"), tick
    for price in tick.prices:
        assert str(Decimal(price.value)) == price.value and 80000 < Decimal(price.value) < 100000, price
        # On a busy machine an exchange may have answered too late.
        assert price.sources and set(price.sources) <= {"coinbase", "kraken", "bitstamp"}, price

    # Streams from the first entry, since a time, after an id, and live.
    first = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, after=0), timeout=TIMEOUT_S), 6)
    since = Timestamp()
    since.FromMilliseconds(first[2].id)
    again = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, since=since), timeout=TIMEOUT_S), 4)
    assert again == first[2:], "since"
    again = entries(feed.Subscribe(pb.SubscribeRequest(currencies=both, after=first[2].id), timeout=TIMEOUT_S), 3)
    assert again == first[3:], "after"
    live = entries(feed.Subscribe(pb.SubscribeRequest(currencies=["EUR"]), timeout=TIMEOUT_S), 4)
    assert live[0].id > first[2].id and [price.currency for price in live[-1].prices] == ["EUR"], live
    hello = next(iter(feed.Subscribe(pb.SubscribeRequest(hello=True), timeout=TIMEOUT_S))).hello
    assert list(hello.currencies) == both and hello.interval.ToMilliseconds() == 200, hello

    # The history in pages.
    request, listed = pb.ListPricesRequest(currencies=both, page_size=2), []
    while len(listed) < 6:
        page = feed.ListPrices(request, timeout=TIMEOUT_S)
        listed += [entry.tick if entry.HasField("tick") else entry.status for entry in page.entries]
        request.page_token = page.next_page_token
    assert listed[:6] == first, "the history differs from the stream"

    # Errors, with their details.
    wrong = feed.Subscribe(pb.SubscribeRequest(currencies=["GBP"]), timeout=TIMEOUT_S)
    error = rejected(grpc.StatusCode.INVALID_ARGUMENT, lambda: next(wrong))
    assert error.details() == 'invalid currency "GBP": expected USD or EUR', error.details()
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"type.googleapis.com/google.rpc.BadRequest" in details and b"currencies[0]" in details, details
    unknown = channel.unary_unary("/btcfeed.v1.PriceFeed/Unsubscribe")
    rejected(grpc.StatusCode.UNIMPLEMENTED, lambda: unknown(b""))
    gzip = {"compression": grpc.Compression.Gzip, "timeout": TIMEOUT_S}
    packed = feed.GetLatest(pb.GetLatestRequest(currencies=both), **gzip).tick
    assert len(packed.prices) == 2, packed
    slow = feed.Subscribe(pb.SubscribeRequest(), timeout=1)
    rejected(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(slow))

    # Twenty streams on one connection receive the same entries.
    streams = [feed.Subscribe(pb.SubscribeRequest(currencies=both, after=0), timeout=TIMEOUT_S) for _ in range(20)]
    assert all(entries(stream, 6) == first for stream in streams), "streams differ"

    health = health_pb2_grpc.HealthStub(channel)
    for service in ["", "btcfeed.v1.PriceFeed"]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()

    reflection = ProtoReflectionDescriptorDatabase(channel)
    listed = reflection.get_services()
    assert {"btcfeed.v1.PriceFeed", "grpc.health.v1.Health"} <= set(listed), listed
    described = reflection.FindFileContainingSymbol("btcfeed.v1.PriceFeed")
    assert [method.name for method in described.service[0].method] == ["Subscribe", "GetLatest", "ListPrices"]


def follow(address, pb, services, after="0"):
    """Prints `prev` and `id` of each entry until the stream ends. If a gRPC error ends it, prints this error."""
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
    command, address, *more = sys.argv[1:]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        modules = generate(out)
    {"check": check, "follow": follow}[command](address, *modules, *more)
    print(f"ok after {time.monotonic() - started:.1f} s")
