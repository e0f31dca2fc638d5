"""Data sets at rest: what was built comes back, and nothing else does."""

import asyncio

import orjson
import pytest

from services.tune.datasets.errors import DatasetAltered, DatasetNotFound
from services.tune.datasets.page import page_of
from services.tune.datasets.report import documents_in, shown_to
from services.tune.datasets.rows import Kind, columns_of, record_of
from services.tune.datasets.store import CARD, LINEAGE, PAGE, REPORT, Datasets
from services.tune.datasets.writing import features_of, write
from tests.unit.tune.datasets.making import built, row

NONE = "0" * 64


@pytest.fixture
def store(tmp_path):
    return Datasets(str(tmp_path / "blobs"))


async def published(store, tmp_path, kind=Kind.SFT, tenant="acme", **own):
    facts = {
        Kind.DPO: {"completion": "", "chosen": "Ten euros.", "rejected": "None."},
        Kind.GRPO: {"answers": ("Ten.",)},
    }
    rows = [row(number, people=("user:ada",), **facts.get(kind, {}), **own) for number in range(60)]
    made = built(kind, rows=rows)
    folder = tmp_path / f"{kind}-{tenant}"
    folder.mkdir()
    await asyncio.to_thread(write, folder, made.card, made.splits, made.report)
    return made, await store.publish(tenant, folder)


@pytest.mark.parametrize("kind", Kind)
async def test_what_was_built_comes_back_held_against_its_digest(store, tmp_path, kind):
    made, card = await published(store, tmp_path, kind)
    assert card == made.card
    opened = await store.open("acme", card.digest)
    assert opened.card.kind is kind
    for name, rows in made.splits.items():
        assert list(opened.splits[name]) == [record_of(each, columns_of(kind)) for each in rows]
        assert opened.splits[name].features == features_of(kind)
    first = await store.rows("acme", card.digest, "train", 1, 2)
    assert first == list(opened.splits["train"])[1:3]
    assert {each.name for each in next((tmp_path / "blobs/datasets").glob("*/*")).iterdir()} == {
        *("train.parquet", "validation.parquet", "test.parquet"),
        *(CARD, REPORT, PAGE, LINEAGE),
    }


async def test_a_tenant_sees_its_own_and_what_is_removed_is_gone(store, tmp_path):
    _, card = await published(store, tmp_path)
    with pytest.raises(DatasetNotFound):
        await store.open("rival", card.digest)
    for digest in (NONE, "../../etc", ""):
        with pytest.raises(DatasetNotFound):
            await store.card("acme", digest)
    await store.remove("acme", card.digest)
    await store.remove("acme", card.digest)
    with pytest.raises(DatasetNotFound):
        await store.card("acme", card.digest)


async def test_all_of_a_tenant_goes_at_once_and_others_stay(store, tmp_path):
    _, card = await published(store, tmp_path)
    await published(store, tmp_path, tenant="rival")
    await store.put_upload("acme", "sent", [{"question": "x"}])
    await store.remove_all("acme")
    with pytest.raises(DatasetNotFound):
        await store.card("acme", card.digest)
    with pytest.raises(DatasetNotFound):
        await store.upload("acme", "sent")
    assert (await store.card("rival", card.digest)).digest == card.digest


async def test_rows_that_were_altered_are_not_opened(store, tmp_path):
    _, card = await published(store, tmp_path)
    [folder] = (tmp_path / "blobs/datasets").glob("*/*")
    (folder / "train.parquet").write_bytes((folder / "test.parquet").read_bytes())
    with pytest.raises(DatasetAltered):
        await store.open("acme", card.digest)


async def test_what_was_sent_is_kept_until_it_is_built_from(store):
    await store.put_upload("acme", "sent", [{"question": "x"}, {"question": "y"}])
    assert [orjson.loads(line) for line in (await store.upload("acme", "sent")).splitlines()] == [
        {"question": "x"},
        {"question": "y"},
    ]
    await store.remove_upload("acme", "sent")
    with pytest.raises(DatasetNotFound):
        await store.upload("acme", "sent")


def test_the_page_stands_alone_and_escapes_what_people_wrote():
    made = built(
        rows=[
            row(number, question=f"<script>alert({number * 7919})</script> what is {number}?") for number in range(60)
        ]
    )
    page = page_of(made.report)
    assert page.count("<svg") == 3
    assert "<script>alert(" not in page
    assert "&lt;script&gt;" in page
    assert 'src="' not in page


def test_a_report_shows_nobody_texts_of_documents_that_they_may_not_read():
    made = built(rows=[*(row(number) for number in range(60)), row(3)])
    shown, withheld = shown_to(made.report, documents_in(made.report))
    assert (shown, withheld) == (made.report, 0)
    shown, withheld = shown_to(made.report, ())
    assert withheld == len(made.report["samples"]) + 1 + len(made.report["coverage"]["topics"])
    assert "d3" not in orjson.dumps(shown).decode()
    assert shown["rows"] == made.report["rows"]
