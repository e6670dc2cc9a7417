"""English sentences from a small grammar, so that the mini corpora need no text from anywhere."""

from __future__ import annotations

import random

WORDS = {
    "det": "the a this that every one another my your his her our their some no each",
    "adj": "old young tall small quiet heavy yellow green broken golden empty narrow gentle brave clever "
    "hungry silver distant frozen muddy wooden careful honest lonely royal simple sudden thirsty "
    "useful violet warm cold dusty early famous foolish huge jealous kind lazy modern noisy orange "
    "polite quick rough sharp tiny ugly vast wild exact fresh bitter bright cheap deep eager faithful "
    "grey hollow icy joyful keen loose mild proud rare secret thin usual weary white black blue "
    "strange",
    "person": "farmer teacher doctor sailor baker judge soldier painter neighbor captain widow uncle singer "
    "king queen thief brother sister father mother child stranger driver hunter lawyer nurse student "
    "tailor woman man girl boy butcher merchant guard prisoner writer cook",
    "thing": "basket bridge garden window letter river mountain village engine blanket candle hammer ladder "
    "mirror picture ring shovel table umbrella violin wagon box key lamp knife boat bottle carpet "
    "door fence glass house island jacket kettle leaf map needle onion pencil quilt rope shoe tree "
    "valley wheel yard apple bread chair drum envelope flag guitar hat jewel kitchen lemon melon "
    "newspaper oven piano rabbit saddle tower vase watch church field horse dog cat bird fish mouse "
    "sheep cow chicken goat bear wolf tiger fox cheese sugar butter honey coffee orchard cellar shelf "
    "pillow bell cloth road path stone wall",
    "verb": "carried opened followed painted watched borrowed dropped found hid lost mended noticed offered "
    "pushed reached sold touched visited washed broke caught drew forgot gave held kept left made "
    "bought brought chose fixed guarded hated inspected judged kicked loved moved needed ordered "
    "praised questioned refused saw took used wanted examined threw built cleaned described enjoyed "
    "finished ignored lifted measured owned packed raised saved traded covered pulled shook wrapped "
    "burned",
    "say": "said thought knew believed heard wrote explained whispered shouted feared hoped answered agreed",
    "go": "walked ran sat waited slept stood laughed worked fell jumped sang stopped turned listened smiled "
    "spoke traveled vanished wandered cried rested danced arrived returned swam climbed",
    "prep": "near behind under beside above across through toward against around before after with without "
    "between over into from past along inside beyond",
    "adverb": "slowly quickly quietly suddenly carefully again alone together often never always "
    "almost hardly "
    "gladly badly early late twice outside away",
    "pronoun": "he she they we i you it",
    "name": "george helen thomas julia victor sarah philip martha oscar emily jack ruth zachary eve",
    "modal": "will would could should must might cannot didn't won't can't",
    "infinitive": "carry open follow paint watch borrow drop find hide lose mend notice offer push "
    "reach sell touch "
    "visit wash break catch draw forget give hold keep leave make buy bring choose fix guard know",
    "number": "two three four five six seven eight nine ten eleven twelve twenty thirty forty",
    "things": "apples letters horses windows boxes ships birds songs books coins flowers knives "
    "stories trees "
    "eggs questions pictures houses friends shoes",
    "question": "where when why how",
    "join": "and but because so while until if although when unless",
}  # fmt: skip
_TIMES = (
    "yesterday", "today", "tonight", "at noon", "before sunrise", "after supper", "in the morning",
    "last winter", "every evening", "once a week", "on monday", "in july", "during the storm", "at midnight",
    "for three days",
    "two hours later", "all summer", "in the end",
    "this afternoon",
)  # fmt: skip

# A word of a pattern is a key of WORDS, a pattern in angle brackets, or itself after "=".
PATTERNS = {
    "who": ("det person", "det adj person", "name", "pronoun", "=the adj person"),
    "what": ("det thing", "det adj thing", "=the thing", "number things", "number adj things",
             "=a adj thing"),
    "where": ("prep <what>", "prep =the thing", "prep =the adj thing", "prep det person"),
    "clause": (
        "<who> verb <what>", "<who> go <where>", "<who> verb <what> <where>", "<who> go adverb",
        "<who> adverb verb <what>",
        "<who> modal infinitive <what>", "<what> go <where>", "name =and name verb <what>",
    ),
    "sentence": (
        "<clause>", "<clause> time", "time <clause>", "<clause> join <clause>", "<who> say =that <clause>",
        "question =did <who> infinitive <what>", "=there =was <what> <where>", "number things go <where>",
        "=what =a adj thing", "=please infinitive <what>", "<clause> adverb", "<who> =was =as adj =as <what>",
        "=don't infinitive <what> <where>", "=it =is adj =to infinitive <what>",
    ),
}  # fmt: skip


def _expand(pattern: str, draw: random.Random) -> str:
    words = []
    for item in pattern.split():
        if item.startswith("="):
            words.append(item[1:])
        elif item.startswith("<"):
            words.append(_expand(draw.choice(PATTERNS[item[1:-1]]), draw))
        elif item == "time":
            words.append(draw.choice(_TIMES))
        else:
            words.append(draw.choice(WORDS[item].split()))
    return " ".join(words)


def make_sentences(number: int, *, seed: int, max_words: int = 14) -> list[str]:
    """Different sentences in lower case.

    Args:
        number: how many
        seed: same seed, same sentences
        max_words: longer ones are drawn again

    Returns:
        sentences of letters, blanks and apostrophes only; no two are equal
    """
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        sentence = _expand(draw.choice(PATTERNS["sentence"]), draw)
        if 2 <= len(sentence.split()) <= max_words:
            found.setdefault(sentence)
    return list(found)
