"""Which ratings count: raters who cannot have read, who disagree with everybody, or who rate very much.

Ratings are untrusted input. Three rules, each counted:

* Reading: adults read at 175 to 300 words a minute (Brysbaert 2019, doi:10.1016/j.jml.2019.104047). A rating that
  comes sooner after its question than twice the fastest of these needs for the answer was given unread. Who gives
  at least LEAST_RATINGS, and more than half of them, so is quarantined: none of theirs counts.
* Agreement: a rater who agrees with the majority of two or more others less than half of the time, on at least
  LEAST_SHARED answers, tells no more than a coin (Raykar and Yu 2012, "Eliminating spammers and ranking annotators
  for crowdsourced labeling tasks", JMLR 13); who agrees never or seldom may mean harm. Both are quarantined.
* Weight: nobody counts for more than SHARE_OF_MEDIAN times the median rater, and at least LEAST_CAP ratings. This
  is our own rule: it leaves a small team whole, and takes its power from who rates a hundred times.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from statistics import median

from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.likeness import folded
from services.tune.datasets.rated import Rated

FASTEST_WORDS_A_MINUTE = 2 * 300
LEAST_RATINGS = 5
LEAST_SHARED = 5
LEAST_AGREEMENT = 0.5
LEAST_OTHERS = 2
SHARE_OF_MEDIAN = 3
LEAST_CAP = 20

Ratings = tuple[list[Rated], StepReport]


def read_ratings(ratings: Sequence[Rated]) -> Ratings:
    """Return the ratings that their raters can have read for, without those of raters who mostly did not."""
    tally = Tally("read before rated")
    unread = {each.rating_id for each in ratings if _is_unread(each)}
    given = Counter(each.rater for each in ratings)
    hasty = Counter(each.rater for each in ratings if each.rating_id in unread)
    quarantined = {
        rater for rater, count in hasty.items() if given[rater] >= LEAST_RATINGS and 2 * count > given[rater]
    }
    kept = []
    for each in ratings:
        if each.rater in quarantined:
            tally.drop("rater quarantined", each.question, each.documents)
        elif each.rating_id in unread:
            tally.drop("faster than one reads", each.question, each.documents)
        else:
            kept.append(each)
    tally.change("raters quarantined", len(quarantined))
    return kept, tally.report(len(ratings), len(kept))


def agreeing_ratings(ratings: Sequence[Rated]) -> Ratings:
    """Return the ratings without those of raters who disagree with everybody."""
    tally = Tally("agreement with others")
    quarantined = _disagreeing(ratings)
    kept = []
    for each in ratings:
        if each.rater in quarantined:
            tally.drop("rater quarantined", each.question, each.documents)
        else:
            kept.append(each)
    tally.change("raters quarantined", len(quarantined))
    return kept, tally.report(len(ratings), len(kept))


def capped_ratings(ratings: Sequence[Rated]) -> Ratings:
    """Return the ratings without those that give one rater more weight than one may have."""
    tally = Tally("weight of one rater")
    of_rater: dict[str, list[Rated]] = defaultdict(list)
    for each in ratings:
        of_rater[each.rater].append(each)
    cap = max(LEAST_CAP, round(SHARE_OF_MEDIAN * median([len(own) for own in of_rater.values()] or [0])))
    kept: set[str] = set()
    for own in of_rater.values():
        # Which of them stay is nobody's choice.
        own.sort(key=lambda each: hashlib.sha256(each.rating_id.encode()).digest())
        kept.update(each.rating_id for each in own[:cap])
        for each in own[cap:]:
            tally.drop("over the cap", each.question, each.documents)
    return [each for each in ratings if each.rating_id in kept], tally.report(len(ratings), len(kept))


def _is_unread(rated: Rated) -> bool:
    try:
        seconds = (datetime.fromisoformat(rated.rated_at) - datetime.fromisoformat(rated.asked_at)).total_seconds()
    except ValueError:
        # Where a time is missing nothing is known.
        return False
    return seconds < len(rated.answer.split()) * 60 / FASTEST_WORDS_A_MINUTE


def _disagreeing(ratings: Sequence[Rated]) -> set[str]:
    opinions: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for each in ratings:
        opinions[folded(each.question), folded(each.answer)][each.rater] = 1 if each.up else -1
    shared, agreed = Counter[str](), Counter[str]()
    for by_rater in opinions.values():
        total = sum(by_rater.values())
        for rater, opinion in by_rater.items():
            others = total - opinion
            if len(by_rater) > LEAST_OTHERS and others:
                shared[rater] += 1
                agreed[rater] += (others > 0) == (opinion > 0)
    return {
        rater for rater, count in shared.items() if count >= LEAST_SHARED and agreed[rater] / count < LEAST_AGREEMENT
    }
