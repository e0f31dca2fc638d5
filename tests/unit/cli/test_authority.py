"""The home's own authority: made once, its certificate renewed before it ends, its keys its owner's."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from services.cli.addresses import Addresses
from services.cli.authority import paths_of, renew, transport_of
from services.cli.home import Home
from services.cli.plan import Choices, local
from services.common.client import open_channel
from tests.unit.common.echo import Echo, call
from tests.unit.common.test_transport import echoing

NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def certificate(home):
    return x509.load_pem_x509_certificate(paths_of(home).certificate.read_bytes())


def after(days):
    return lambda: NOW + timedelta(days=days)


async def test_what_is_made_lets_services_reach_each_other(home):
    renew(home)
    transport = transport_of(home, tls=True)
    async with echoing(transport, Echo()) as address, open_channel(address, transport) as channel:
        assert await call(channel, "unary_unary") == [b"hi"]


def test_keys_are_for_their_owner_alone(home):
    renew(home)
    assert {path.stat().st_mode & 0o777 for path in (home.root / "tls").glob("*key*")} == {0o600}


@pytest.mark.parametrize(("days", "renewed"), [(0, False), (59, False), (61, True), (91, True)])
def test_a_certificate_is_renewed_in_its_last_thirty_days(home, days, renewed):
    renew(home, after(0))
    first, authority = certificate(home), paths_of(home).authority.read_bytes()
    renew(home, after(days))
    assert (certificate(home) != first) is renewed
    assert certificate(home).not_valid_after_utc >= NOW + timedelta(days=days + 29)
    assert paths_of(home).authority.read_bytes() == authority


@pytest.mark.parametrize("lost", ["certificate.pem", "key.pem", "authority.key", "authority.pem"])
def test_what_is_lost_is_made_again(home, lost):
    renew(home)
    (home.root / "tls" / lost).unlink()
    renew(home)
    transport_of(home, tls=True)
    certificate(home).verify_directly_issued_by(x509.load_pem_x509_certificate(paths_of(home).authority.read_bytes()))


def told(home, *, tls):
    return [dict(unit.command.environment) for unit in local(home, Choices(Addresses(40000), "memory", tls=tls)).units]


def test_every_service_is_told_of_the_files_and_only_where_tls_is_wanted(home):
    file = str(paths_of(home).certificate)
    with_tls, without = ([each["TANDEM_TLS_CERTIFICATE"] for each in told(home, tls=tls)[3:]] for tls in (True, False))
    assert with_tls == [file] * 7
    assert without == [""] * 7
