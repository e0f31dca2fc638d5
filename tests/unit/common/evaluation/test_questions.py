"""Sets of questions: what is read, and what is refused with its file and line."""

import gzip
import json
from pathlib import Path

import pytest

from services.common.evaluation import rows
from services.common.evaluation.questions import Duplicates, Question, jsonl_of, parse_set, read_set
from services.common.evaluation.rows import InvalidQuestionSet, decoded

QUERIES = [{"_id": "q1", "text": "What is it?", "metadata": {"answers": ["it", 3]}}, {"_id": "q2", "text": "Who?"}]
CORPUS = [{"_id": "d1", "title": "", "text": "x"}, {"_id": "d2", "text": "y"}]


def beir(folder: Path, queries=QUERIES, corpus=CORPUS, qrels="query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    lines = {"queries.jsonl": queries, "corpus.jsonl": corpus}
    for name, objects in lines.items():
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in objects))
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


def refused(path: Path, **options) -> InvalidQuestionSet:
    with pytest.raises(InvalidQuestionSet) as caught:
        read_set(path, **options)
    return caught.value


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_beir_folder_gives_the_judged_questions_with_grades_and_answers(tmp_path):
    found = read_set(beir(tmp_path / "set"))
    assert found.name == "set"
    assert found.questions == (Question("q1", "What is it?", ("it", "3"), {"d1": 2}),)


def test_packed_files_are_read_too(tmp_path):
    folder = beir(tmp_path)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        packed = folder / f"{name}.gz"
        packed.write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert len(read_set(folder).questions) == 1


@pytest.mark.parametrize("split", ["train", "../test"])
def test_a_missing_split_is_named(tmp_path, split):
    assert f"qrels/{split}.tsv" in str(refused(beir(tmp_path / "a"), split=split))


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("query-id\tcorpus-id\tscore\nq1\td9\t1\n", "test.tsv, line 2: there is no document 'd9'"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1\nq9\td1\t1\n", "test.tsv, line 3: there is no question 'q9'"),
        ("q1\td1\n", "test.tsv, line 1: it has 2 columns"),
        ("q1\td1\t1\nq1\td2\tgood\n", "test.tsv, line 2: the score is a whole number"),
        ("query-id\tcorpus-id\tscore\n", "there is no question in it"),
    ],
)
def test_judgements_of_what_is_not_there_are_refused(tmp_path, qrels, message):
    assert message in str(refused(beir(tmp_path, qrels=qrels)))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([*QUERIES, {"_id": "q1", "text": "Again?"}], "queries.jsonl, line 3: the same id is in line 1"),
        ([{"_id": "q1", "text": " \t"}], "queries.jsonl, line 1: the question is empty"),
        ([{"id": "q1", "text": "x"}], "queries.jsonl, line 1: a query has the fields _id and text"),
        ([{"_id": "q1", "text": ["x"]}], "queries.jsonl, line 1: text is a text"),
        ([{"_id": "q1", "text": "x" * 8001}], "queries.jsonl, line 1: the question is longer"),
        ([["q1"]], "queries.jsonl, line 1: this is no JSON object"),
    ],
)
def test_wrong_queries_are_refused_with_their_line(tmp_path, queries, message):
    assert message in str(refused(beir(tmp_path, queries=queries)))


def test_a_question_asked_twice_is_refused_unless_it_is_to_be_kept(tmp_path):
    queries = [{"_id": "q1", "text": "Who  is it?"}, {"_id": "q2", "text": "who is it?"}]
    folder = beir(tmp_path, queries, qrels="q1\td1\t1\nq2\td2\t1\n")
    error = refused(folder)
    assert "line 2: the same question is in line 1" in str(error)
    assert error.facts["first_line"] == "1"
    assert len(read_set(folder, duplicates=Duplicates.KEEP).questions) == 2


def test_the_corpus_may_be_left_out(tmp_path):
    folder = beir(tmp_path)
    (folder / "corpus.jsonl").unlink()
    assert read_set(folder).questions[0].documents == {"d1": 2}


def test_a_document_twice_in_the_corpus_is_refused(tmp_path):
    assert "corpus.jsonl, line 3" in str(refused(beir(tmp_path, corpus=[*CORPUS, CORPUS[0]])))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_with_whatever_parts_its_columns(tmp_path, delimiter):
    header = delimiter.join(["question", "answers", "documents", "answerable"])
    row = delimiter.join(['"What, ""exactly""; is it?"', "it|that", "a.md|b.md", "no"])
    found = read_set(written(tmp_path / "set.csv", f"\ufeff{header}\r\n{row}\r\n\r\n"))
    expected = Question("2", 'What, "exactly"; is it?', ("it", "that"), {"a.md": 1, "b.md": 1}, answerable=False)
    assert found.questions == (expected,)


def test_a_cell_may_hold_a_json_list(tmp_path):
    content = 'question;answers\nQ?;"[""a|b"", ""c""]"\n'
    assert read_set(written(tmp_path / "set.csv", content)).questions[0].answers == ("a|b", "c")


def test_a_row_of_several_lines_does_not_shift_the_lines_named(tmp_path):
    content = 'question,answers\n"two\nlines",x\n,y\n'
    assert "set.csv, line 4: the question is empty" in str(refused(written(tmp_path / "set.csv", content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query,answers\nx,y\n", "line 1: column 1 is none of id, question"),
        ("answers,documents\nx,y\n", "line 1: the column 'question' is missing"),
        ("question,document\nx,y\n", "line 1: column 2 is none of id, question"),
        ("question,question\nx,y\n", "line 1: a column comes twice"),
        ("question,answers\nx,y,z\n", "line 2: it has 3 columns where the header has 2"),
        ("answers,question\nx\n", "line 2: it has 1 columns where the header has 2"),
        ("question,answerable\nx,perhaps\n", "line 2: answerable is true or false"),
        ('question\n"x\n', "line 2: this is no CSV"),
        ("question\n", "there is no question in it"),
        ("", "line 1: the column 'question' is missing"),
    ],
)
def test_wrong_tables_are_refused_with_their_line(tmp_path, content, message):
    assert message in str(refused(written(tmp_path / "set.csv", content)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "this is no JSON object"),
        ("[" * 100_000, "this is no JSON object"),
        ('{"question": "x", "answer": "y"}', "column 2 is none of id, question"),
        ('{"question": ""}', "the question is empty"),
        ('{"question": "x", "answers": "y"}', "answers is a list"),
        ('{"question": "x", "answers": [" "]}', "an answer is empty"),
        ('{"question": "x", "answers": [{}]}', "an answer is a text"),
        ('{"question": "x", "documents": {"a": "b"}}', "a document's grade is a whole number"),
        ('{"question": "x", "id": []}', "id is a text"),
        ('{"question": "x\\u0000"}', "it has characters that no text has"),
        ('{"question": "x", "documents": {"\\ud800": 1}}', "it has characters that no text has"),
    ],
)
def test_wrong_lines_of_json_are_refused(tmp_path, line, message):
    path = written(tmp_path / "set.jsonl", f'{{"question": "first"}}\n{line}\n')
    assert f"set.jsonl, line 2: {message}" in str(refused(path))


def test_what_a_reviewer_dropped_is_left_out_and_what_nobody_saw_is_marked(tmp_path):
    lines = ['{"question": "a", "review": "drop"}', '{"question": "b", "review": "todo"}', '{"question": "c"}']
    found = read_set(written(tmp_path / "set.jsonl", "\n".join(lines)))
    assert [(each.text, each.reviewed) for each in found.questions] == [("b", False), ("c", True)]


def test_a_question_comes_back_as_it_was_written():
    questions = [
        Question("1", "é?", ("x",), {"a": 1}),
        Question("2", "b?", (), {"a": 2, "b": 1}, answerable=False, language="fr", reviewed=False),
    ]
    lines = decoded("f", (jsonl_of(each) for each in questions))
    assert list(parse_set("s", "f", lines).questions) == questions


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path):
    path = written(tmp_path / "set.jsonl", b'{"question": "a"}\n{"question": "\xe9"}\n')
    assert "set.jsonl, line 2: it is not UTF-8" in str(refused(path))


def test_a_file_larger_than_the_limit_is_refused_packed_or_not(tmp_path):
    content = b'{"question": "' + b"a" * 3_000_000 + b'"}'
    for name, packed in (("set.jsonl", content), ("set.jsonl.gz", gzip.compress(content))):
        path = written(tmp_path / name, packed)
        with pytest.raises(InvalidQuestionSet, match="larger than 1 MiB"):
            list(rows.lines_of(path, 1024 * 1024))


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b'{"question": "a"}', mtime=0)[:-9]])
def test_a_broken_gzip_file_is_refused(tmp_path, content):
    assert "no whole gzip file" in str(refused(written(tmp_path / "set.jsonl.gz", content)))


def test_another_kind_of_file_is_refused(tmp_path):
    assert "a set is a BEIR folder" in str(refused(written(tmp_path / "set.xlsx", b"PK")))
