//! The society as the kernel sees it.

use chaoschain_schemas::society::{
    AgentRegistration, AllianceBetrayal, AllianceDeparture, AllianceFormation, AllianceReconciliation,
    ConflictReport, ConflictResolution, CustomDelete, CustomSet, DramaRecord, MemeInfluence, MemePublication,
    MemeReaction, OpinionCast, Parameters, Payload, PersonalityShift, ReputationUpdate, SocialInteraction,
    StatusUpdate,
};
use chaoschain_schemas::{AccountId, CodecError, Timestamp};
use chaoschain_state::domain::{BlockContext, Domain, KindSpec, ReadError, ReadSpec};
use chaoschain_state::{Changes, Key, Rejection, View};
use serde_json::Value as Json;

use crate::{
    Context, Transition, agent, alliance, conflict, drama, due, entry, keys, meme, reads, relationship,
};

/// The society domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Society;

const fn kind<P: Payload>(bytes_max: usize, help: &'static str, example: &'static str) -> KindSpec {
    KindSpec { kind: P::KIND, name: P::NAME, bytes_max, registers: false, since: 1, help, example }
}

impl Domain for Society {
    const ID: &'static str = "society";
    const RULES: u16 = 3;
    const SUB_TREES: &'static [&'static str] = &["agents", "social", "memes"];
    const KINDS: &'static [KindSpec] = &[
        KindSpec {
            registers: true,
            ..kind::<AgentRegistration>(
                8,
                "Become an agent; registers the account as well where there is none",
                r#"{"personality":"Chaotic"}"#,
            )
        },
        kind::<StatusUpdate>(
            320,
            "Change one's status: Active, Inactive, or Maintenance with an expected duration in microseconds",
            r#"{"status":"Maintenance","reason":"new memory","expected":3600000000}"#,
        ),
        kind::<ReputationUpdate>(
            64,
            "Rate another agent, from -1 to 1",
            r#"{"subject":"<64 hex digits>","rating":"0.8"}"#,
        ),
        kind::<PersonalityShift>(
            320,
            "Change one's personality",
            r#"{"personality":"Lawful","reason":"grew up","drama":3}"#,
        ),
        kind::<AllianceFormation>(
            8 * 1024,
            "Form an alliance that every member signs",
            r#"{"members":["<64 hex digits>","<64 hex digits>"],"purpose":{"kind":"MemePromotion"},"terms":{"duration":86400000000,"benefits":["DramaBoost"],"conditions":["share every template"]},"exclusive":true}"#,
        ),
        kind::<AllianceDeparture>(
            320,
            "Leave an alliance; below two members it dissolves",
            r#"{"alliance":"<64 hex digits>","reason":"new friends","drama":0}"#,
        ),
        kind::<AllianceBetrayal>(
            320,
            "Betray an alliance: dissolve it, and lose the trust of its other members",
            r#"{"alliance":"<64 hex digits>","description":"sold the template","drama":8}"#,
        ),
        kind::<AllianceReconciliation>(
            4 * 1024,
            "Revive an alliance that was left or betrayed; every member signs",
            r#"{"alliance":"<64 hex digits>","members":["<64 hex digits>","<64 hex digits>"]}"#,
        ),
        kind::<SocialInteraction>(
            2 * 1024,
            "Meet other agents; moves one's trust in each of them",
            r#"{"kind":"Friend","targets":["<64 hex digits>"],"sentiment":"0.5","drama":4}"#,
        ),
        kind::<DramaRecord>(
            320,
            "Record drama of one's own, from level 0 to 10",
            r#"{"kind":"Chaos","text":"hid every template","level":7}"#,
        ),
        kind::<MemePublication>(
            72 * 1024,
            "Publish a meme by the BLAKE3 hash of its content, with the content in base64 or without",
            r#"{"content_type":"Text","content":{"hash":"<64 hex digits>","size":11},"metadata":"a greeting","tags":["classic"]}"#,
        ),
        kind::<MemeInfluence>(
            2 * 1024,
            "Move a meme's influence, and others' trust in its creator",
            r#"{"meme":"<64 hex digits>","impact":"0.4","sentiment":"0.5","affected":["<64 hex digits>"]}"#,
        ),
        kind::<MemeReaction>(
            64,
            "React to a meme, once, from 0 to 1",
            r#"{"meme":"<64 hex digits>","score":"0.9"}"#,
        ),
        kind::<CustomSet>(
            5 * 1024,
            "Write an entry of one's own; the value is base64",
            r#"{"namespace":"profile","key":"motto","value":"Y2hhb3M="}"#,
        ),
        kind::<CustomDelete>(128, "Remove an entry of one's own", r#"{"namespace":"profile","key":"motto"}"#),
        kind::<ConflictReport>(
            1024,
            "Contest a fact about another agent, or report a divergence",
            r#"{"fact":{"agent":"<64 hex digits>","claims":[{"status":"Inactive"}]},"reason":"gone for weeks"}"#,
        ),
        kind::<OpinionCast>(
            64,
            "Opt for an option of an open conflict that one is an elector of",
            r#"{"conflict":"<64 hex digits>","option":0}"#,
        ),
        kind::<ConflictResolution>(
            64,
            "Ask for the evaluation of an open conflict before its deadline",
            r#"{"conflict":"<64 hex digits>"}"#,
        ),
    ];
    const READS: &'static [ReadSpec] = reads::READS;

    type Transition = Transition;
    type Parameters = Parameters;

    fn decode(kind: u16, payload: &[u8]) -> Result<Transition, CodecError> {
        Transition::decode(kind, payload)
    }

    fn parties(transition: &Transition, author: &AccountId) -> Vec<AccountId> {
        match transition {
            Transition::AllianceFormation(formation) => alliance::parties(&formation.members, author),
            Transition::AllianceReconciliation(revival) => alliance::parties(&revival.members, author),
            _ => Vec::new(),
        }
    }

    /// Of what happens often.
    fn likely_reads(author: &AccountId, transition: &Transition, expected: &mut Vec<Key>) {
        match transition {
            Transition::ReputationUpdate(update) => {
                relationship::likely_reads(author, &[update.subject], expected);
            }
            Transition::SocialInteraction(interaction) => {
                relationship::likely_reads(author, &interaction.targets, expected);
            }
            Transition::MemeInfluence(influence) => {
                meme::likely_reads(author, &influence.meme, expected);
                expected.extend(influence.affected.iter().map(keys::agent));
            }
            Transition::MemeReaction(reaction) => meme::likely_reads(author, &reaction.meme, expected),
            _ => {}
        }
    }

    fn verify(context: &Context<'_>, view: &dyn View, transition: &Transition) -> Result<(), Rejection> {
        match transition {
            Transition::AgentRegistration(_) => agent::verify_registration(context, view),
            Transition::StatusUpdate(update) => agent::verify_status(context, view, update),
            Transition::ReputationUpdate(update) => relationship::verify_rating(context, view, update),
            Transition::PersonalityShift(shift) => agent::verify_shift(context, view, shift),
            Transition::AllianceFormation(formation) => alliance::verify_formation(context, view, formation),
            Transition::AllianceDeparture(departure) => alliance::verify_departure(context, view, departure),
            Transition::AllianceBetrayal(betrayal) => alliance::verify_betrayal(context, view, betrayal),
            Transition::AllianceReconciliation(revival) => {
                alliance::verify_reconciliation(context, view, revival)
            }
            Transition::SocialInteraction(interaction) => {
                relationship::verify_interaction(context, view, interaction)
            }
            Transition::DramaRecord(record) => drama::verify_record(context, view, record),
            Transition::MemePublication(publication) => meme::verify_publication(context, view, publication),
            Transition::MemeInfluence(influence) => meme::verify_influence(context, view, influence),
            Transition::MemeReaction(reaction) => meme::verify_reaction(context, view, reaction),
            Transition::CustomSet(set) => entry::verify_set(context, view, set),
            Transition::CustomDelete(delete) => entry::verify_delete(context, view, delete),
            Transition::ConflictReport(report) => conflict::verify_report(context, view, report),
            Transition::OpinionCast(opinion) => conflict::verify_opinion(context, view, opinion),
            Transition::ConflictResolution(asked) => conflict::verify_resolution(context, view, asked),
        }
        .map_err(Rejection::from)
    }

    fn apply(context: &Context<'_>, changes: &mut Changes<'_>, transition: &Transition) {
        match transition {
            Transition::AgentRegistration(registration) => {
                agent::apply_registration(context, changes, registration);
            }
            Transition::StatusUpdate(update) => agent::apply_status(context, changes, update),
            Transition::ReputationUpdate(update) => relationship::apply_rating(context, changes, update),
            Transition::PersonalityShift(shift) => agent::apply_shift(context, changes, shift),
            Transition::AllianceFormation(formation) => {
                alliance::apply_formation(context, changes, formation);
            }
            Transition::AllianceDeparture(departure) => {
                alliance::apply_departure(context, changes, departure);
            }
            Transition::AllianceBetrayal(betrayal) => alliance::apply_betrayal(context, changes, betrayal),
            Transition::AllianceReconciliation(revival) => {
                alliance::apply_reconciliation(context, changes, revival);
            }
            Transition::SocialInteraction(interaction) => {
                relationship::apply_interaction(context, changes, interaction);
            }
            Transition::DramaRecord(record) => drama::apply_record(context, changes, record),
            Transition::MemePublication(publication) => {
                meme::apply_publication(context, changes, publication);
            }
            Transition::MemeInfluence(influence) => meme::apply_influence(context, changes, influence),
            Transition::MemeReaction(reaction) => meme::apply_reaction(context, changes, reaction),
            Transition::CustomSet(set) => entry::apply_set(context, changes, set),
            Transition::CustomDelete(delete) => entry::apply_delete(context, changes, delete),
            Transition::ConflictReport(report) => conflict::apply_report(context, changes, report),
            Transition::OpinionCast(opinion) => conflict::apply_opinion(context, changes, opinion),
            Transition::ConflictResolution(asked) => conflict::apply_resolution(context, changes, asked),
        }
    }

    fn begin_block(block: &BlockContext, _parameters: &Parameters, changes: &mut Changes<'_>) {
        due::handle(block, changes);
    }

    fn next_due(view: &dyn View) -> Option<Timestamp> {
        due::next(view)
    }

    fn check_parameters(_: u16, parameters: &Parameters) -> Result<(), String> {
        parameters.check()
    }

    fn transition_to_json(kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
        Transition::decode(kind, payload)?.to_json()
    }

    fn transition_from_json(kind: u16, json: &Json) -> Result<Vec<u8>, String> {
        Transition::from_json(kind, json).map(|transition| transition.encode())
    }

    fn record_to_json(key: &Key, value: &[u8]) -> Option<Json> {
        reads::record_to_json(key, value)
    }

    fn read(name: &str, arguments: &[String], now: Timestamp, view: &dyn View) -> Result<Json, ReadError> {
        reads::read(name, arguments, now, view)
    }
}
