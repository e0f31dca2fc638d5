"""Quotas as a deployment writes them down."""

import grpc
import pytest
from pydantic import ValidationError

from services.common.interceptors import details_of
from services.common.quotas import REFUSALS, UNLIMITED, Quota, QuotaExceeded, Scope, refused
from services.common.settings import PlatformSettings


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("TANDEM_IDENTITY_KEY", "k" * 32)

    def read(quotas=None):
        if quotas is not None:
            monkeypatch.setenv("TANDEM_QUOTAS", quotas)
        return PlatformSettings().quotas

    return read


def test_without_a_setting_nobody_is_limited(settings):
    assert settings().of("t") == UNLIMITED


def test_a_tenant_has_its_own_quotas_or_the_default_ones(settings):
    quotas = settings('{"default": {"documents": 10, "requests_per_minute": 60}, "big": {"bytes": 7}}')
    assert (quotas.of("t").documents, quotas.of("t").requests_per_minute) == (10, 60)
    assert (quotas.of("big").documents, quotas.of("big").bytes) == (0, 7)


def test_a_tenant_whose_object_is_empty_is_unlimited(settings):
    assert settings('{"default": {"documents": 10}, "big": {}}').of("big") == UNLIMITED


@pytest.mark.parametrize("quotas", ['{"t": {"documents": -1}}', '{"t": {"document": 1}}', "[]", '{"t": 3}'])
def test_a_quota_that_makes_no_sense_stops_the_start(settings, quotas):
    with pytest.raises(ValidationError):
        settings(quotas)


def test_a_refusal_says_which_quota_and_when_to_come_again_and_is_counted():
    before = REFUSALS.labels("requests", "key")._value.get()
    error = refused(QuotaExceeded(Quota.REQUESTS, 60, 1.5, Scope.KEY))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert error.facts == {"quota": "requests", "limit": "60", "scope": "key"}
    assert b"RetryInfo" in details_of(error)
    assert b"RetryInfo" not in details_of(QuotaExceeded(Quota.DOCUMENTS, 1))
    assert REFUSALS.labels("requests", "key")._value.get() == before + 1
