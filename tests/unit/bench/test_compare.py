"""The worked example's lines for the document."""

from bench.compare import lines_of


def test_a_comparison_is_a_table_with_what_nothing_is_said_of_left_out_and_the_verdict():
    figure = {"value": 0.5, "low": 0.25, "high": 0.75, "count": 4}
    spent = {"value": 41.0, "low": 40.0, "high": 42.0, "count": 4}
    found = {
        "compared": 4,
        "set": "xquad_en",
        "ways": [
            {"name": "base", "figures": {"tokens read": spent}, "seconds": {"p50": 1.0, "p95": 2.5}},
            {"name": "RAG", "figures": {"F1": figure, "tokens read": spent}, "seconds": {"p50": 1.5, "p95": 3.0}},
        ],
        "verdict": {"paragraph": "Use RAG."},
    }
    assert list(lines_of(found)) == [
        "| 4 questions of xquad_en | base | RAG |",
        "|---|---|---|",
        "| F1 | - | 0.500 [0.250, 0.750] |",
        "| tokens read | 41.0 [40.0, 42.0] | 41.0 [40.0, 42.0] |",
        "| p50, p95, s | 1.00, 2.50 | 1.50, 3.00 |",
        "",
        "> Use RAG.",
    ]
