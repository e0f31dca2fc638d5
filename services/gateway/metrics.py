"""What the gateway counts; every label's values are few and known."""

from prometheus_client import Counter, Histogram

from services.common.telemetry import SECONDS

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

ASKS = Counter("tandem_asks_total", "Questions: answered, refused, failed or cancelled.", ["outcome"])
RETRIEVAL_SECONDS = Histogram("tandem_ask_retrieval_seconds", "From a question to its passages.", buckets=SECONDS)
FIRST_TOKEN_SECONDS = Histogram(
    "tandem_ask_first_token_seconds", "From a question to its first token.", buckets=SECONDS
)
ANSWER_TOKENS = Counter("tandem_answer_tokens_total", "Tokens of answers that were whole.")
FOLLOW_UPS = Counter(
    "tandem_follow_ups_total",
    "Questions within a conversation: alone as they were, made so by rule or by the model; model_refused "
    "where it failed or added something.",
    ["outcome"],
)
CITATIONS = Counter("tandem_citations_total", "Citations sent.")
SENTENCES = Counter(
    "tandem_answer_sentences_total", "Sentences of answers: supported by a passage, or unsupported.", ["support"]
)
SUPPORTED_SHARE = Histogram(
    "tandem_answer_supported_share", "Of an answer's sentences, the share that a passage supports.", buckets=SHARES
)
ABSTENTIONS = Counter("tandem_abstentions_total", "Questions that the passages do not tell of, by reason.", ["reason"])
ENTAILMENT_FAILURES = Counter("tandem_entailment_failures_total", "Answers that the entailment model did not judge.")
AUTHENTICATION_FAILURES = Counter("tandem_authentication_failures_total", "Calls refused, by reason.", ["reason"])
ISSUER_FETCHES = Counter("tandem_issuer_fetches_total", "Times an issuer was asked for its keys.", ["outcome"])
AUDIT_LOST = Counter("tandem_audit_lost_total", "Events that could not be written to the audit log.")
