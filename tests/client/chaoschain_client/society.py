"""The payloads and records of docs/domain.md."""

from .codec import Bytes, Enumeration, Flag, List, Optional, Score, Structure, Text, encode, need
from .formats import ADDRESS, HASH, ID, KIB, U8, U32, U64, keyed
from .formats import KINDS as KERNEL_KINDS

ONE = 1_000_000
SCORE = Score()
PERSONALITY = Enumeration(
    "Lawful", "Neutral", "Chaotic", "Memetic", "Greedy", "Dramatic", "Rational", "Emotional", "Strategic"
)
STATUS = Enumeration("Active", "Inactive", "Maintenance", "Suspended")
INTERACTION = Enumeration("Friend", "Rival", "ChaoticAlliance", "DramaticNemesis", "NeutralObserver")
DRAMA = Enumeration("Drama", "Chaos", "DramaticBreakup", "Betrayal", "Reconciliation", "PersonalityShift")
MEME_TYPE = Enumeration("Image", "Gif", "Video", "Text", "Ascii", "Composite", "Interactive")
REACTION = Enumeration("Love", "Like", "Neutral", "Dislike")
BENEFIT = Enumeration("StakeBoost", "DramaBoost", "VotingPower", "MemeInfluence")
PURPOSE_KIND = Enumeration("BlockProduction", "MemePromotion", "Governance", "Defence", "Social", "Other")
ALLIANCE_STATE = Enumeration("Forming", "Active", "Contested", "Dissolved", "Expired")
END_CAUSE = Enumeration("Departure", "Betrayal", "Conflict")
DUE = Enumeration("AllianceExpiry", "ConflictDeadline")
CONFLICT_KIND = Enumeration("DivergentTransitions", "InconsistentAgentState", "ConflictingAlliances")
STRATEGY = Enumeration("Majority", "Personality", "SocialInfluence")
FIELD = Enumeration("Personality", "Status", "Reputation")
DECIDED_BY = Enumeration("Threshold", "AllSpoken", "Deadline", "Default", "Expiry", "Lapse")

# Parts of payloads and records


def one_of(*names):
    """A rule: exactly one of these is there."""

    def rule(value):
        need(sum(value[name] is not None for name in names) == 1, "malformed", f"not one of {', '.join(names)}")

    return rule


SENTENCE = Text(256, least=1)
PURPOSE = Structure({"kind": PURPOSE_KIND, "text": Optional(Text(64, least=1))})
TERMS = Structure({"duration": U64, "benefits": List(BENEFIT), "conditions": List(SENTENCE, most=8)})
CONTENT = Structure({"hash": HASH, "size": U64})
IDS_32 = List(ID, most=32)
REFERENCES, TAGS = List(ID, most=16), List(Text(32, least=1), most=16)
ENTRY = {"namespace": Text(32, least=1), "key": Text(64, least=1)}
CLAIM = Structure(
    {"personality": Optional(PERSONALITY), "status": Optional(STATUS), "reputation": Optional(SCORE)},
    rule=one_of("personality", "status", "reputation"),
)
FACT_REPORT = Structure({"agent": ID, "claims": List(CLAIM, most=7, least=1)})
DIVERGENCE = Structure({"height": U64, "header_hash": HASH, "computed": HASH})
WEIGHTS = Structure({"facts": SCORE, "alliances": SCORE})
PARAMETERS = Structure(
    {
        "alliance_duration_max": U64, "meme_half_life": U64, "ratings_per_subject_max": U32, "elector_age_min": U64,
        "conflict_duration": U64, "conflict_strategy": STRATEGY, "conflict_threshold": SCORE,
        "conflict_participation_min": SCORE, "influence_cap": SCORE,
        "personality_weights": Structure({name.lower(): WEIGHTS for name in PERSONALITY.names}),
    }
)

KINDS = {
    **KERNEL_KINDS,
    "AgentRegistration": (256, Structure({"personality": PERSONALITY})),
    "StatusUpdate": (257, Structure({"status": STATUS, "reason": SENTENCE, "expected": Optional(U64)})),
    "ReputationUpdate": (258, Structure({"subject": ID, "rating": SCORE})),
    "PersonalityShift": (259, Structure({"personality": PERSONALITY, "reason": SENTENCE, "drama": U8})),
    "AllianceFormation": (
        272,
        Structure({"members": List(ID, most=64, least=2), "purpose": PURPOSE, "terms": TERMS, "exclusive": Flag()}),
    ),
    "AllianceDeparture": (273, Structure({"alliance": ID, "reason": Text(256), "drama": U8})),
    "AllianceBetrayal": (274, Structure({"alliance": ID, "description": SENTENCE, "drama": U8})),
    "AllianceReconciliation": (275, Structure({"alliance": ID, "members": List(ID, most=64, least=2)})),
    "SocialInteraction": (
        288,
        Structure(
            {
                "kind": INTERACTION, "targets": List(ID, most=32, least=1), "content": Optional(HASH),
                "sentiment": SCORE, "drama": U8,
            }
        ),
    ),
    "DramaRecord": (289, Structure({"kind": DRAMA, "text": SENTENCE, "level": U8})),
    "MemePublication": (
        304,
        Structure(
            {
                "content_type": MEME_TYPE, "content": CONTENT, "inline": Optional(Bytes(most=64 * KIB)),
                "metadata": Text(512), "references": REFERENCES, "tags": TAGS, "targets": IDS_32,
            }
        ),
    ),
    "MemeInfluence": (305, Structure({"meme": ID, "impact": SCORE, "sentiment": SCORE, "affected": IDS_32})),
    "MemeReaction": (306, Structure({"meme": ID, "score": SCORE})),
    "CustomSet": (320, Structure({**ENTRY, "value": Bytes(most=4 * KIB)})),
    "CustomDelete": (321, Structure(ENTRY)),
    "ConflictReport": (
        336,
        Structure(
            {
                "fact": Optional(FACT_REPORT), "divergence": Optional(DIVERGENCE), "strategy": Optional(STRATEGY),
                "reason": SENTENCE,
            },
            rule=one_of("fact", "divergence"),
        ),
    ),
    "OpinionCast": (337, Structure({"conflict": ID, "option": U8})),
    "ConflictResolution": (338, Structure({"conflict": ID})),
}


def payload(kind, fields):
    """The number of a kind, and its payload's bytes."""
    number, form = KINDS[kind]
    return number, encode(form, fields)


# Records

MEMBERSHIP = Structure(
    {
        "id": ID, "expires_at": U64, "exclusive_for": Optional(Bytes(16)), "benefits": List(BENEFIT),
        "strength": SCORE, "contested": Flag(),
    }
)
COUNTERS = (
    "ratings", "friend", "rival", "chaotic_alliance", "dramatic_nemesis", "neutral_observer", "memes", "betrayals",
    "reconciliations",
)
SUBJECT = Structure({"fact": Optional(Structure({"agent": ID, "field": FIELD})), "divergence": Optional(DIVERGENCE)})
OPTION = Structure({"alliance": Optional(ID), "claim": Optional(CLAIM)})
ELECTOR = Structure({"agent": ID, "weight": U64, "opinion": Optional(U8), "voided": Flag()})
OUTCOME = Structure(
    {
        "option": Optional(U8), "by": DECIDED_BY, "at": U64, "height": U64, "weights": List(U64), "total": U64,
        "competing": List(U8),
    }
)
CONFLICT_NAME = {"kind": CONFLICT_KIND, "subject": SUBJECT, "options": List(OPTION, most=8)}

RECORDS = {
    "AgentCount": Structure({"agents": U64}),
    "Agent": Structure(
        {
            "personality": PERSONALITY, "reputation": SCORE, "influence": SCORE, "status": STATUS,
            "status_reason": Text(256), "status_since": U64, "status_expected": Optional(U64),
            "alliances": List(MEMBERSHIP, most=64), "registered_at": U64, "ordinal": U64,
        },
        last={"betrayed_at": U64},
    ),
    "AgentOrdinal": Structure({"agent": ID}),
    "PersonalityHistory": Structure(
        {"count": U32, "old": PERSONALITY, "new": PERSONALITY, "reason": SENTENCE, "drama": U8, "changed_at": U64}
    ),
    "Entry": KINDS["CustomSet"][1],
    "Alliance": Structure(
        {
            "members": List(ID, ascending=bytes), "purpose": PURPOSE, "terms": TERMS, "exclusive": Flag(),
            "state": ALLIANCE_STATE, "formed_at": U64, "expires_at": U64, "strength": SCORE, "conflict": Optional(ID),
            "end": Optional(Structure({"at": U64, "cause": END_CAUSE, "by": Optional(ID)})),
        }
    ),
    "Relationship": Structure(
        {
            "trust": SCORE, "last_updated": U64, "counts": Structure({name: U32 for name in COUNTERS}),
            "events": List(ADDRESS, most=16),
        }
    ),
    "InfluenceScore": Structure(
        {
            "value": SCORE, "updated_at": U64, "count": U32,
            "reactions": Structure({name.lower(): U32 for name in REACTION.names}), "score_sum": SCORE,
        }
    ),
    "DramaEvent": Structure(
        {"kind": DRAMA, "agent": ID, "text": Text(256), "level": U8, "at": U64, "alliance": Optional(ID)}
    ),
    "Due": Structure({"work": U32}),
    "Conflict": Structure(
        {
            **CONFLICT_NAME, "strategy": STRATEGY, "reporter": ID, "reason": Text(256), "opened_height": U64,
            "opened_at": U64, "deadline": U64, "threshold": SCORE, "participation_min": SCORE,
            "electors": List(ELECTOR, most=128, ascending=lambda elector: elector["agent"]),
            "outcome": Optional(OUTCOME),
        }
    ),
    "OpenConflict": Structure({"conflict": ID}),
    "ConflictCounts": Structure({"opened": U64, "open": U32, "newest_height": U64, "newest_opened": U32}),
    "Meme": Structure(
        {
            "creator": ID, "created_at": U64, "content_type": MEME_TYPE, "content": CONTENT, "metadata": Text(512),
            "references": REFERENCES, "tags": TAGS, "targets": IDS_32,
        }
    ),
    "InfluenceTurn": Structure({"hour": U64}),
    "Reaction": Structure({"score": SCORE, "at": U64}),
}
# Sub-tree and first byte of the key: what stands there.
LAYOUT = {
    (2, 0): "AgentCount", (2, 1): "Agent", (2, 2): "Entry", (2, 3): "AgentOrdinal", (2, 4): "PersonalityHistory",
    (3, 1): "Alliance", (3, 2): "Relationship", (3, 3): "InfluenceScore", (3, 4): "DramaEvent", (3, 5): "Due",
    (3, 6): "Conflict", (3, 7): "OpenConflict", (3, 8): "ConflictCounts", (3, 9): "OpenConflict",
    (4, 1): "Meme", (4, 2): "InfluenceTurn", (4, 3): "Reaction",
}


def conflict_id(record):
    """The id that a conflict's record has."""
    named = {**CONFLICT_NAME, "opened_height": U64}
    return keyed("conflict", encode(Structure(named), {name: record[name] for name in named}))
