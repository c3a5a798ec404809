//! Memes: what is published, and how it carries.

use serde::{Deserialize, Serialize};

use super::{Payload, check_bytes, check_count, check_text};
use crate::limits::{
    INFLUENCE_AFFECTED_MAX, MEME_INLINE_BYTES_MAX, MEME_METADATA_BYTES_MAX, MEME_REFERENCES_MAX,
    MEME_TAG_BYTES_MAX, MEME_TAGS_MAX, MEME_TARGETS_MAX,
};
use crate::{AgentId, Blob, Fixed, Hash, MemeId, Timestamp, code_enum};

code_enum! {
    /// What a meme's content is.
    MemeType {
        /// A picture.
        Image = 0,
        /// A moving picture.
        Gif = 1,
        /// A film.
        Video = 2,
        /// Words.
        Text = 3,
        /// A picture of characters.
        Ascii = 4,
        /// Several of these.
        Composite = 5,
        /// A program.
        Interactive = 6,
    }
}

/// Names content that is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemeContent {
    /// Plain BLAKE3 of the content, as `b3sum` prints it.
    pub hash: Hash,
    /// The content's size, bytes.
    pub size: u64,
}

impl MemeContent {
    /// The name of this content.
    pub fn of(content: &[u8]) -> Self {
        Self { hash: blake3::hash(content).into(), size: content.len() as u64 }
    }
}

/// A meme; its id is that of the transition that published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meme {
    /// Who published it.
    pub creator: AgentId,
    /// Block time of its publication.
    pub created_at: Timestamp,
    /// What its content is.
    pub content_type: MemeType,
    /// Names its content.
    pub content: MemeContent,
    /// What its creator says about it.
    pub metadata: String,
    /// The memes it refers to.
    pub references: Vec<MemeId>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The agents it is aimed at.
    pub targets: Vec<AgentId>,
}

/// How far a meme carries. There is none until its first influence or reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InfluenceScore {
    /// The influence at `updated_at`, in \[0, 1\]; it decays from then on.
    pub value: Fixed,
    /// Block time of the last influence or reaction.
    pub updated_at: Timestamp,
    /// How many influences there were; stays at its largest value once there.
    pub count: u32,
    /// How many reactions of each kind there were.
    pub reactions: ReactionCounts,
    /// The sum of all reactions' scores; the meme's quality is their mean.
    pub score_sum: Fixed,
}

code_enum! {
    /// How an agent takes a meme. It follows from the reaction's score.
    ReactionKind {
        /// A score above 0.7.
        Love = 0,
        /// A score above 0.5.
        Like = 1,
        /// A score above 0.3.
        Neutral = 2,
        /// Any lower score.
        Dislike = 3,
    }
}

/// How many reactions of each kind a meme had; each stays at its largest value once there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReactionCounts {
    /// Reactions of [`ReactionKind::Love`].
    pub love: u32,
    /// Reactions of [`ReactionKind::Like`].
    pub like: u32,
    /// Reactions of [`ReactionKind::Neutral`].
    pub neutral: u32,
    /// Reactions of [`ReactionKind::Dislike`].
    pub dislike: u32,
}

/// An agent's reaction to a meme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The score it gave.
    pub score: Fixed,
    /// Block time of the reaction.
    pub at: Timestamp,
}

/// When an author last moved a meme's influence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfluenceTurn {
    /// The hour of block time, counted from the Unix epoch.
    pub hour: u64,
}

/// Publishes a meme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemePublication {
    /// What its content is.
    pub content_type: MemeType,
    /// Names its content.
    pub content: MemeContent,
    /// The content itself, at most 64 KiB; it travels in the event and is in no record.
    pub inline: Option<Blob>,
    /// What its creator says about it, at most 512 bytes.
    #[serde(default)]
    pub metadata: String,
    /// The memes it refers to, at most 16 different ones.
    #[serde(default)]
    pub references: Vec<MemeId>,
    /// Its tags, at most 16 different ones of 1 to 32 bytes.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The agents it is aimed at, at most 32 different ones.
    #[serde(default)]
    pub targets: Vec<AgentId>,
}

impl Payload for MemePublication {
    const KIND: u16 = 304;
    const NAME: &'static str = "MemePublication";

    fn check(&self) -> Result<(), String> {
        if let Some(inline) = &self.inline {
            check_bytes("the inline content", inline.len(), 0, MEME_INLINE_BYTES_MAX)?;
        }
        check_text("metadata", &self.metadata, 0, MEME_METADATA_BYTES_MAX)?;
        check_count("references", &self.references, 0, MEME_REFERENCES_MAX)?;
        check_count("tags", &self.tags, 0, MEME_TAGS_MAX)?;
        self.tags.iter().try_for_each(|tag| check_text("a tag", tag, 1, MEME_TAG_BYTES_MAX))?;
        check_count("targets", &self.targets, 0, MEME_TARGETS_MAX)
    }
}

/// Moves a meme's influence, and others' views of its creator with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemeInfluence {
    /// The meme.
    pub meme: MemeId,
    /// What is added to its influence: no further from 0 than the author's own influence.
    pub impact: Fixed,
    /// How it was taken, in \[−1, 1\].
    pub sentiment: Fixed,
    /// Whose views of the creator move: at most 32 different agents, not the creator.
    #[serde(default)]
    pub affected: Vec<AgentId>,
}

impl Payload for MemeInfluence {
    const KIND: u16 = 305;
    const NAME: &'static str = "MemeInfluence";

    fn check(&self) -> Result<(), String> {
        check_count("affected agents", &self.affected, 0, INFLUENCE_AFFECTED_MAX)
    }
}

/// Reacts to a meme, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemeReaction {
    /// The meme; not one of the author's own.
    pub meme: MemeId,
    /// How the author takes it, in \[0, 1\].
    pub score: Fixed,
}

impl Payload for MemeReaction {
    const KIND: u16 = 306;
    const NAME: &'static str = "MemeReaction";
}
