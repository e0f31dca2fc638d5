"""People who rate answers, simulated: they like those that are right, short and cited, and err now and then."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tandem.feedback.v1 import events_pb2
from tandem.gateway.v1 import directory_service_pb2 as people_pb
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling

from services.cli.evaluation.asking import Collected
from services.cli.evaluation.outcomes import Reply
from services.cli.gateway import Caller, Gateway
from services.cli.session import Session
from services.cli.tuning_demo.company import Page, customers
from services.common.access import Role, number_of

PEOPLE = ("ada", "bo", "cleo", "dov", "eve", "fay")
# How often somebody presses the other button.
ERROR = 0.05
MOST_WORDS = 16
# Who rates sooner than one can read is not believed: they read as fast as people do who read fast.
WORDS_A_SECOND = 5.0
# How often they take the trouble to say what would have been right.
CORRECTING = 1 / 3
# Answers differ, so that there are better and worse ones.
TEMPERATURE = 0.7
ANSWER_TOKENS = 48
ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that somebody has, and what would be right."""

    question: str
    told: str
    person: str


def questions_of(instruments: Sequence[Sequence[Page]], count: int, seed: int) -> list[Asked]:
    """Return so many questions on instruments, each on another fact."""
    found = [Asked(customers(page.question()), page.answer, page.person) for pages in instruments for page in pages]
    random.Random(seed).shuffle(found)  # sampling, no secret  # noqa: S311  # nosec B311
    return found[:count]


def likes(asked: Asked, reply: Reply) -> bool:
    """Return whether an answer is right, short and cited."""
    right = asked.person in reply.words
    return right and len(reply.words.split()) <= MOST_WORDS and bool(reply.citations)


def ask_and_rate(session: Session, assistant: str, questions: Sequence[Asked], seed: int) -> int:
    """Have all people ask and rate, each their share of the questions; return how many answers they like."""
    people = [people_pb.User(user_id=name, display_name=name.title()) for name in PEOPLE]
    session.gateway.call(session.gateway.people.PutUsers, people_pb.PutUsersRequest(users=people))
    roles = [number_of(role) for role in (Role.READER, Role.RATER)]
    wanted = pb.CreateApiKeyRequest(name="application", roles=roles, acts_for_users=True)
    key = session.gateway.call(session.gateway.access.CreateApiKey, wanted).secret
    shares = [(name, questions[number :: len(PEOPLE)]) for number, name in enumerate(PEOPLE)]

    def rated(share: tuple[str, Sequence[Asked]]) -> list[bool]:
        name, own = share
        gateway = Gateway(session.gateway_address, Caller(key, name))
        draw = random.Random(f"{seed}/{name}")  # sampling, no secret  # noqa: S311  # nosec B311
        try:
            return [_rated(gateway, assistant, each, draw) for each in own]
        finally:
            gateway.close()

    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        opinions = [opinion for each in pool.map(rated, shares) for opinion in each]
    return sum(opinions)


def _rated(gateway: Gateway, assistant: str, asked: Asked, draw: random.Random) -> bool:
    sampling = Sampling(max_tokens=ANSWER_TOKENS, temperature=TEMPERATURE, seed=draw.randrange(1, 1 << 31))
    request = pb.AskRequest(question=asked.question, assistant=assistant, sampling=sampling)
    collected = Collected()
    for event in gateway.stream(gateway.answers.Ask, request, ANSWER_SECONDS):
        collected.take(event)
    reply = collected.reply()
    time.sleep(len(reply.text.split()) / WORDS_A_SECOND)
    liked = likes(asked, reply) != (draw.random() < ERROR)
    opinion = pb.RateRequest(answer_id=collected.answer_id)
    opinion.thumb = events_pb2.THUMB_UP if liked else events_pb2.THUMB_DOWN
    if not liked and draw.random() < CORRECTING:
        opinion.correction = asked.told
    gateway.call(gateway.answers.Rate, opinion)
    return liked
