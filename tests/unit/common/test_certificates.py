"""Certificates are taken whole and valid, or the start is stopped and what was in use stays in use."""

import re
import shutil

import pytest
import trustme
from prometheus_client import REGISTRY

from services.common.certificates import CertificatePaths, CertificatesUnusable, WatchedCertificates
from services.common.settings import PlatformSettings
from services.common.transport import Transport
from tests.certificates import KEY, PAST, Files


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "tls")


def refused(files, why):
    with pytest.raises(CertificatesUnusable, match=why) as raised:
        Transport.of(files.settings())
    return str(raised.value)


@pytest.mark.parametrize("left_out", ["tls_certificate", "tls_key", "tls_authority"])
def test_half_a_configuration_stops_the_start_and_names_what_is_missing(files, left_out):
    with pytest.raises(CertificatesUnusable, match=f"set TANDEM_{left_out.upper()} too"):
        Transport.of(files.settings(**{left_out: ""}))


@pytest.mark.parametrize("name", ["certificate_file", "key_file", "authority_file"])
def test_a_file_that_is_away_or_no_pem_stops_the_start_and_is_named(files, name):
    path = getattr(files, name)
    path.write_text("not PEM")
    refused(files, re.escape(f"{path} holds no"))
    path.unlink()
    refused(files, re.escape(f"{path} cannot be read"))


def test_another_s_key_stops_the_start(files, tmp_path):
    shutil.copy(Files(tmp_path / "other").key_file, files.key_file)
    refused(files, "is not the key of")


def test_an_expired_certificate_or_authority_stops_the_start(files):
    files.issue(expires=PAST)
    refused(files, "valid from .* until .* only")


def test_an_error_about_a_key_does_not_hold_it(files):
    secret = files.key_file.read_text()
    files.key_file.write_text(secret.replace("BEGIN", "BEGUN"))
    assert secret.splitlines()[1] not in refused(files, "private key")


def test_the_gateway_shows_a_whole_pair_of_its_own_or_the_platform_s(files):
    with pytest.raises(CertificatesUnusable, match="GATEWAY_TLS_KEY too"):
        Transport.of_front(files.settings(), str(files.certificate_file), "", "")
    nothing = PlatformSettings(identity_key=KEY)
    with pytest.raises(CertificatesUnusable, match="GATEWAY_CLIENT_AUTHORITY needs"):
        Transport.of_front(nothing, "", "", str(files.authority_file))


def watch(files, name="watched"):
    return WatchedCertificates(name, CertificatePaths(files.certificate_file, files.key_file, files.authority_file))


def reloads(name, outcome):
    return REGISTRY.get_sample_value("tandem_tls_reloads_total", {"certificate": name, "outcome": outcome}) or 0


def expiry(name):
    return REGISTRY.get_sample_value("tandem_tls_certificate_expiry_timestamp_seconds", {"certificate": name})


def test_files_that_stay_are_read_once(files):
    watched = watch(files)
    assert watched.current() is watched.current()


def test_a_new_pair_is_used_and_counted_with_its_expiry(files):
    watched = watch(files, "renewed")
    first = watched.current()
    files.issue()
    assert watched.current().chain == files.certificate_file.read_bytes() != first.chain
    assert reloads("renewed", "loaded") == 1
    assert expiry("renewed") == watched.current().expires_at.timestamp()


def test_a_swapped_link_is_seen_as_kubernetes_makes_it(tmp_path):
    one, two = Files(tmp_path / "one"), Files(tmp_path / "two")
    link = tmp_path / "..data"
    link.symlink_to(one.folder)
    watched = WatchedCertificates("linked", CertificatePaths(link / "tls.crt", link / "tls.key", link / "ca.crt"))
    aside = tmp_path / "..data_tmp"
    aside.symlink_to(two.folder)
    aside.replace(link)
    assert watched.current().chain == two.certificate_file.read_bytes()


@pytest.mark.parametrize("broken", ["no pem", "half a pair", "expired", "away"])
def test_what_is_broken_leaves_the_old_in_use_and_is_counted_until_it_is_mended(files, broken):
    watched = watch(files, broken)
    old = watched.current()
    if broken == "no pem":
        files.replace(files.certificate_file, b"-----BEGIN CERT")
    elif broken == "half a pair":
        files.replace(files.key_file, trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    elif broken == "expired":
        files.issue(expires=PAST)
    else:
        files.authority_file.unlink()
    assert watched.current() is old
    assert watched.current() is old
    assert reloads(broken, "failed") == 1
    assert expiry(broken) == old.expires_at.timestamp()
    files.trust(files.authority)
    files.issue()
    assert watched.current().chain == files.certificate_file.read_bytes()
