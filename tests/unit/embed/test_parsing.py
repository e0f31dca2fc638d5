"""Files of every format are read; those that cannot be say why."""

import json

import pytest

from services.embed.domain import (
    DocumentTooLarge,
    EmptyDocument,
    EncryptedDocument,
    MalformedDocument,
    Page,
    UnsupportedFormat,
    ZipBomb,
)
from services.embed.parsing.kinds import Kind, is_plain, kind_of
from services.embed.parsing.reader import read
from services.embed.parsing.source import Source

MAIL = (
    b"From: Ada <ada@example.com>\r\nTo: bob@example.com\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n"
    b"<p>See you at <b>noon</b>.</p>\r\n--x\r\nContent-Type: application/pdf\r\n"
    b'Content-Disposition: attachment; filename="menu.pdf"\r\n\r\nzzz\r\n--x--\r\n'
)


def parsed(content: bytes, name: str = "", media_type: str = "", max_characters: int = 1_000_000):
    return read(Source(content, name, media_type, max_characters))


def test_markdown_is_kept_as_it_is_and_its_first_heading_is_the_title():
    document = parsed(b"\xef\xbb\xbf# Returns #\r\n\r\nWithin *30* days.\r\n", "a.md")
    assert (document.title, document.text) == ("Returns", "# Returns #\n\nWithin *30* days.")


def test_a_comment_in_code_is_no_title():
    assert parsed(b"```\n# not a title\n```\n\n# Neither, it comes after code", "a.md").title == ""


def test_html_gives_its_body_as_markdown_without_scripts():
    page = (
        b"<!doctype html><title>Shop</title><script>evil()</script><h1>Hi</h1><ul><li>one</ul><img src=x alt='a cat'>"
    )
    document = parsed(page, "a.html")
    assert document.title == "Shop"
    assert "# Hi" in document.text
    assert "* one" in document.text
    assert "a cat" in document.text
    assert "evil" not in document.text


def test_pages_of_a_pdf_are_numbered_and_those_without_text_count(make):
    document = parsed(make.pdf("First page", "", "Third page"), "a.pdf")
    assert document.text == "First page\n\nThird page"
    assert document.pages == (Page(1, 0), Page(3, 12))


def test_docx_gives_its_paragraphs(make):
    assert parsed(make.docx("One fact.", "Another."), "a.docx").text == "One fact.\n\nAnother."


def test_slides_are_numbered(make):
    document = parsed(make.pptx("Plan", "Budget"), "a.pptx")
    assert [page.number for page in document.pages] == [1, 2]
    assert document.text[document.pages[1].start :].startswith("# Budget")


def test_sheets_become_tables_under_their_names(make):
    document = parsed(
        make.xlsx(Prices=[["item", "price"], ["cup", 3], ["a|b", None]], Empty=[], More=[["x"]]), "a.xlsx"
    )
    assert document.text.startswith("## Prices\n\n| item | price |\n| --- | --- |\n| cup | 3 |\n| a\\|b |  |")
    assert [page.number for page in document.pages] == [1, 3]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_a_table_whatever_its_delimiter(delimiter):
    content = "\n".join(delimiter.join(row) for row in (["id", "name"], ["1", "Ada"], ["2", "Bob"]))
    assert parsed(content.encode(), "a.csv").text == "| id | name |\n| --- | --- |\n| 1 | Ada |\n| 2 | Bob |"


def test_json_is_an_outline_and_each_item_of_a_list_a_paragraph():
    tickets = [{"id": 1, "tags": ["a", "b"], "open": True}, {"id": 2, "note": "é"}]
    assert (
        parsed(json.dumps(tickets).encode(), "a.json").text
        == "id: 1\ntags:\n  - a\n  - b\nopen: true\n\nid: 2\nnote: é"
    )


def test_a_value_a_line_is_json_too_and_a_broken_line_is_kept():
    assert parsed(b'{"a": 1}\n{broken\n{"a": 2}', "a.jsonl").text == "a: 1\n\n{broken\n\na: 2"


def test_a_format_that_tells_the_kind_of_its_documents_says_so(make):
    table, slides = make.xlsx(Prices=[["item", "price"], ["cup", 3]]), make.pptx("Plan")
    mail, outline = parsed(MAIL, "a.eml"), b'{"agent": "hello?", "customer": "hello"}'
    assert (parsed(table, "a.xlsx").kind, parsed(b"a,b\n1,2", "a.csv").kind) == ("table", "table")
    assert (parsed(slides, "a.pptx").kind, parsed(outline, "a.json").kind) == ("slides", "text")
    assert (mail.kind, mail.author) == ("mail", "Ada <ada@example.com>")
    assert parsed(b"# Words", "a.md").kind == ""


def test_mail_gives_headers_body_and_the_names_of_attachments():
    document = parsed(MAIL, "a.eml")
    assert document.title == "Café"
    assert "From: Ada <ada@example.com>" in document.text
    assert "See you at **noon**." in document.text
    assert document.text.endswith("Attachments:\n\n- menu.pdf")


def test_a_file_that_is_not_what_its_name_says_is_read_as_what_it_is(make):
    assert parsed(b"# Plain\n\nMarkdown.", "a.pdf").title == "Plain"
    assert parsed(b"<html><body><p>Hello", "a.pdf").text == "Hello"
    assert parsed(make.docx("Word"), "a.pdf").text == "Word"
    assert parsed(make.pdf("Portable"), "a.docx").text == "Portable"
    assert parsed(b"# Said to be a web page", "a.txt", "text/html").title == "Said to be a web page"


def test_broken_utf8_is_read_but_for_what_is_broken():
    assert parsed("Crème brûlée à volonté ".encode() + b"\xff\xfe end", "a.md").text == "Crème brûlée à volonté �� end"


def test_other_encodings_are_recognised():
    french = "Les élèves étaient déjà fatigués, et la leçon n'était pas encore terminée à midi. " * 5
    assert parsed(french.encode("cp1252"), "a.txt").text == french.strip()
    assert parsed(french.encode("utf-16"), "a.txt").text == french.strip()


def test_control_characters_are_left_out():
    assert parsed("a\x07b\x1bc\x0cd\u2028e\x7f".encode(), "a.txt").text == "abc\nd\ne"


@pytest.mark.parametrize("content", [b"", b" \n\t ", b"\xef\xbb\xbf", b"***\n---"])
def test_a_file_without_text_is_empty(content):
    with pytest.raises(EmptyDocument):
        parsed(content, "a.md")


def test_a_pdf_without_text_is_empty(make):
    with pytest.raises(EmptyDocument):
        parsed(make.pdf(""), "a.pdf")


def test_an_encrypted_pdf_says_so(make):
    with pytest.raises(EncryptedDocument):
        parsed(make.pdf("secret", encrypt=True), "a.pdf")


def test_an_office_file_with_a_password_says_so():
    ole = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 500 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 500
    with pytest.raises(EncryptedDocument):
        parsed(ole, "a.docx")


def test_an_old_office_file_is_not_supported():
    with pytest.raises(UnsupportedFormat):
        parsed(bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 500, "a.doc")


def test_a_binary_file_is_not_supported_and_malformed_where_its_name_promised_more():
    noise = bytes(range(256)) * 20
    with pytest.raises(UnsupportedFormat):
        parsed(noise, "a.png")
    with pytest.raises(MalformedDocument):
        parsed(noise, "a.pdf")


@pytest.mark.parametrize("kind", ["pdf", "docx", "pptx", "xlsx"])
def test_a_file_that_is_cut_off_is_malformed(make, kind):
    whole = {
        "pdf": lambda: make.pdf("text")[:60],
        "docx": lambda: make.docx("text" * 99)[:-200],
        "pptx": lambda: make.pptx("text")[:5000],
        "xlsx": lambda: make.xlsx(A=[["text"]])[:1000],
    }[kind]()
    with pytest.raises(MalformedDocument):
        parsed(whole, f"a.{kind}")


BOMB_BYTES = 33 * 1024 * 1024


@pytest.fixture(scope="module")
def bomb(make):
    return make.docx("hello", more={"word/bomb.xml": b"\0" * BOMB_BYTES})


def test_a_zip_bomb_is_never_inflated(bomb):
    assert len(bomb) < 100_000
    with pytest.raises(ZipBomb):
        parsed(bomb, "a.docx")


def test_a_zip_bomb_that_lies_about_its_size_is_found_or_broken(bomb):
    lying = bomb.replace(BOMB_BYTES.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    with pytest.raises((ZipBomb, MalformedDocument)):
        parsed(lying, "a.docx")


def test_an_archive_of_something_else_is_not_supported(make):
    with pytest.raises(UnsupportedFormat):
        parsed(make.archive({"a.txt": "hello"}), "a.docx")


def test_more_text_than_is_allowed_is_too_large():
    with pytest.raises(DocumentTooLarge):
        parsed(b"word " * 100, "a.txt", max_characters=99)


def test_json_that_is_nested_too_deeply_is_read_as_text():
    assert parsed(b"[" * 100_000 + b"1" + b"]" * 100_000, "a.json").text.startswith("[[[")


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"From: a@b.c\nTo: d@e.f\nSubject: hi\n\nbody", "", Kind.EMAIL),
        (b"Subject: only a line of a text\n\nbody", "a.txt", Kind.TEXT),
        (b"[link](x) begins this text", "a.md", Kind.TEXT),
        (b"<p>not a page</p>", "a.md", Kind.TEXT),
        (b"<!-- c --><html lang=en>", "a.txt", Kind.HTML),
        (b"a,b\n1,2", "a.csv", Kind.CSV),
    ],
)
def test_contents_decide_and_names_help(content, name, kind):
    assert kind_of(content, name, "") is kind


def test_only_plain_text_is_read_in_process(make):
    assert is_plain(b"# Markdown", "a.md", "")
    assert not any(
        is_plain(content, "a.md", "")
        for content in (make.pdf("x"), make.docx("x"), b'{"a": 1}', b"<html>", MAIL, b"\0\1")
    )


def test_a_run_of_comments_is_read_in_no_time():
    # With a pattern that can split the run in many ways, this would not end.
    content = b"<!---->" * 500 + b"x"
    assert kind_of(content, "page.html", "") in Kind
