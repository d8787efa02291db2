"""DEFLATE between a connection and its transport (RFC 4978; CASES H19)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailserver.net.deflate import PIECE, STEP, Compressors, Deflated


class Layer:
    """A layer, what it delivered, and the client's side of it."""

    def __init__(self, compressors: Compressors | None = None) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.delivered: list[bytes] = []
        self.broken = 0
        self.layer = Deflated(
            self.transport,
            self.clock,
            self.deliver,
            self.break_off,
            Compressors() if compressors is None else compressors,
        )
        self.compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.inflater = zlib.decompressobj(-15)
        self.on_delivery: Any = None

    def deliver(self, data: bytes) -> None:
        self.delivered.append(data)
        if self.on_delivery is not None:
            self.on_delivery(data)

    def break_off(self) -> None:
        self.broken += 1

    def deflate(self, data: bytes) -> bytes:
        return self.compressor.compress(data) + self.compressor.flush(zlib.Z_SYNC_FLUSH)

    def read(self) -> bytes:
        sent = self.transport.value()
        self.transport.clear()
        return self.inflater.decompress(sent)

    def settle(self) -> None:
        for _ in range(10_000):
            if not self.clock.getDelayedCalls():
                return
            self.clock.advance(0)
        raise AssertionError("it never rests")


def test_each_write_can_be_read_whole() -> None:
    layer = Layer()
    for text in (b"* OK hello\r\n", b"a", b"b" * 200_000, b"a OK done\r\n"):
        layer.layer.write(text)
        assert layer.read() == text


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 50))
def test_whatever_way_the_octets_come_the_same_is_delivered(texts: list[bytes], size: int) -> None:
    layer = Layer()
    wire = b"".join(map(layer.deflate, texts))
    for at in range(0, len(wire), size):
        layer.layer.feed(wire[at : at + size])
    layer.settle()
    assert b"".join(layer.delivered) == b"".join(texts)
    assert not layer.broken


def test_H19_a_bomb_is_inflated_a_step_at_a_time_while_nothing_more_is_read() -> None:
    layer = Layer()
    layer.layer.feed(layer.deflate(bytes(10 * 1024 * 1024)))
    assert sum(map(len, layer.delivered)) == STEP
    assert layer.transport.producerState == "paused"
    assert len(layer.clock.getDelayedCalls()) == 1
    layer.settle()
    assert max(map(len, layer.delivered)) == STEP
    assert sum(map(len, layer.delivered)) == 10 * 1024 * 1024
    assert layer.transport.producerState == "producing"


def test_H19_a_flood_of_flushes_is_worked_off_in_turns() -> None:
    layer = Layer()
    layer.layer.feed(b"".join(layer.deflate(b"x") for _ in range(5000)))
    assert len(layer.delivered) <= STEP // PIECE
    layer.settle()
    assert b"".join(layer.delivered) == b"x" * 5000


def test_output_that_fits_one_step_exactly_loses_nothing() -> None:
    layer = Layer()
    layer.layer.feed(layer.deflate(bytes(STEP)))
    layer.settle()
    assert b"".join(layer.delivered) == bytes(STEP)
    layer.layer.feed(layer.deflate(b"next"))
    assert layer.delivered[-1] == b"next"


def test_nothing_is_delivered_while_reading_is_paused() -> None:
    layer = Layer()
    layer.on_delivery = lambda data: layer.layer.pauseProducing()
    layer.layer.feed(layer.deflate(bytes(3 * STEP)))
    layer.settle()
    assert len(layer.delivered) == 1
    layer.layer.feed(layer.deflate(b"more"))
    assert len(layer.delivered) == 1
    layer.on_delivery = None
    layer.layer.resumeProducing()
    layer.settle()
    assert b"".join(layer.delivered) == bytes(3 * STEP) + b"more"
    assert layer.transport.producerState == "producing"


def test_reading_goes_on_after_a_pause_in_which_something_came() -> None:
    layer = Layer()
    layer.layer.pauseProducing()
    layer.layer.feed(layer.deflate(b"was on its way"))
    assert layer.delivered == []
    layer.layer.resumeProducing()
    layer.settle()
    assert (layer.delivered, layer.transport.producerState) == ([b"was on its way"], "producing")


@pytest.mark.parametrize("junk", [b"a NOOP\r\n", b"\xff" * 10, b"\x07"])
def test_H19_what_is_no_deflate_ends_it_once(junk: bytes) -> None:
    layer = Layer()
    layer.layer.feed(junk)
    layer.layer.feed(junk)
    assert layer.broken == 1
    assert not layer.delivered


def test_the_end_of_the_stream_is_the_end() -> None:
    layer = Layer()
    layer.layer.feed(layer.compressor.compress(b"a NOOP\r\n") + layer.compressor.flush() + b"b NOOP\r\n")
    assert layer.delivered == [b"a NOOP\r\n"]
    assert layer.broken == 1


def test_what_stands_behind_a_flush_is_given_back_where_the_layer_ends_there() -> None:
    layer = Layer()
    rest: list[bytes] = []
    layer.on_delivery = lambda data: rest.append(layer.layer.stop())
    layer.layer.feed(layer.deflate(b"UNAUTHENTICATE\r\n") + b"b LOGIN")
    assert rest == [b"b LOGIN"]
    assert not layer.broken


def test_a_flush_in_two_pieces_is_found_too() -> None:
    for cut in range(1, 6):
        layer = Layer()
        rest: list[bytes] = []
        wire = layer.deflate(b"first\r\n") + layer.deflate(b"last\r\n")
        layer.on_delivery = lambda data, one=layer, kept=rest: (
            b"last" in data and kept.append(one.layer.stop())
        )
        layer.layer.feed(wire[:-cut])
        layer.layer.feed(wire[-cut:] + b"plain")
        assert b"".join(layer.delivered) == b"first\r\nlast\r\n"
        assert not layer.broken


def test_of_many_connections_those_that_wrote_last_have_a_compressor() -> None:
    """And the others go on with a new one, which their clients cannot tell."""
    compressors = Compressors(kept=3)
    layers = [Layer(compressors) for _ in range(10)]
    for number in range(3):
        for layer in layers:
            text = b"answer %d\r\n" % number * 5
            layer.layer.write(text)
            assert layer.read() == text
            assert len(compressors) <= 3


def test_a_closed_connection_gives_its_compressor_up() -> None:
    compressors = Compressors()
    layer = Layer(compressors)
    layer.layer.write(b"x")
    assert len(compressors) == 1
    layer.layer.loseConnection()
    assert len(compressors) == 0
    assert layer.transport.disconnecting
