"""Ports: one range without gaps, and what is taken is named."""

import os
import random
import socket

import pytest

from services.cli.addresses import COUNT, PARTS, SERVICES, Addresses, PortsTaken, check_free, free_addresses, is_taken


def test_every_address_has_a_port_of_its_own_in_one_range():
    addresses = Addresses(50050)
    every = [addresses.of(name) for name in (*SERVICES, *PARTS)] + [addresses.metrics_of(name) for name in SERVICES]
    assert sorted(every) == [f"127.0.0.1:{port}" for port in range(50050, 50050 + COUNT)]
    assert addresses.of("gateway") == "127.0.0.1:50050"
    assert list(addresses.owners()) == list(range(50050, 50050 + COUNT))


def test_the_owner_of_a_port_is_who_listens_there():
    addresses = Addresses(50050)
    assert addresses.owners()[50050] == "gateway"
    assert addresses.owners()[int(addresses.metrics_of("embed").rpartition(":")[2])] == "embed /metrics"
    assert addresses.owners()[int(addresses.of("milvus").rpartition(":")[2])] == "milvus"


def test_a_taken_port_is_named_with_its_holder():
    addresses = free_addresses(random.Random())
    with socket.create_server(("127.0.0.1", addresses.base + 1)), pytest.raises(PortsTaken) as caught:
        check_free(addresses)
    assert f"port {addresses.base + 1} (ingest) is held by" in str(caught.value)
    assert f"(process {os.getpid()})" in str(caught.value)
    assert caught.value.facts == {"ports": [addresses.base + 1]}


def test_free_ports_can_be_listened_on():
    addresses = free_addresses(random.Random())
    check_free(addresses)
    assert not any(map(is_taken, addresses.owners()))
