//! What the rules are to refuse: somebody tries it all the same.

use chaoschain_schemas::society::{
    AgentRegistration, InteractionKind, MemeReaction, OpinionCast, Personality, ReputationUpdate,
    SocialInteraction,
};
use chaoschain_schemas::{ConflictId, Fixed, MemeId};

use super::{Act, Look, Origin};

/// Something wrong, with the code of its refusal; it takes its author for the block.
pub(in crate::simulate) fn wrong(look: &mut Look<'_>) -> Option<Act> {
    let personality = *look.draws.pick(Personality::ALL)?;
    let author = look.someone(personality)?;
    let own = look.id(author);
    let (act, code) = match look.draws.below(7) {
        0 => (Act::of(author, &ReputationUpdate { subject: own, rating: Fixed::ONE }), "self_directed"),
        1 => {
            let other = *look.others(&[author], 1, false).first()?;
            let rating = Fixed::from_millionths(2 * Fixed::SCALE);
            (Act::of(author, &ReputationUpdate { subject: look.id(other), rating }), "out_of_range")
        }
        2 => {
            let meme = MemeId::new(look.draws.bytes());
            (Act::of(author, &MemeReaction { meme, score: Fixed::HALF }), "meme_unknown")
        }
        3 => {
            let conflict = ConflictId::new(look.draws.bytes());
            (Act::of(author, &OpinionCast { conflict, option: 0 }), "conflict_unknown")
        }
        4 => (Act::of(author, &AgentRegistration { personality }), "agent_exists"),
        5 => {
            let other = *look.others(&[author], 1, false).first()?;
            let twice = vec![look.id(other); 2];
            let interaction = SocialInteraction {
                kind: InteractionKind::Friend,
                targets: twice,
                content: None,
                sentiment: Fixed::HALF,
                drama: 0,
            };
            (Act::of(author, &interaction), "duplicate")
        }
        _ => {
            let other = *look.others(&[author], 1, false).first()?;
            let rating = ReputationUpdate { subject: look.id(other), rating: Fixed::HALF };
            (Act { nonce_ahead: 1, ..Act::of(author, &rating) }, "nonce_ahead")
        }
    };
    Some(look.take(act).from(Origin::Wrong(code)))
}
