//! A society in which something is contested.

use chaoschain_schemas::control::{Account, Role};
use chaoschain_schemas::limits::DUE_WORK_MAX;
use chaoschain_schemas::society::{
    AgentRegistration, Alliance, AllianceFormation, AlliancePurpose, Claim, Conflict, ConflictCounts,
    ConflictOutcome, ConflictReport, ConflictResolution, ContestedFact, ContestedField, DecidedBy, Due,
    DueKind, FactReport, OpenConflict, OpinionCast, Parameters, Personality, PurposeKind,
};
use chaoschain_schemas::{AllianceId, ConflictId, Micros, codec};
use chaoschain_society::keys;
use chaoschain_state::control;

use crate::support::*;

/// How long opinions are taken here.
pub(crate) const DAY: u64 = 24 * HOUR;

/// `Person(1)` to `Person(people)`, all of them old enough to vote.
pub(crate) fn society(people: u64, parameters: &Parameters) -> World {
    peopled(World::new(parameters), people)
}

/// The same under version 2 of the rules.
pub(crate) fn society_of_old(people: u64, parameters: &Parameters) -> World {
    peopled(World::under(2, parameters), people)
}

fn peopled(mut world: World, people: u64) -> World {
    for person in (1..=people).map(Person) {
        world.happen(registered(person));
    }
    world.happen(passed(HOUR));
    world
}

pub(crate) fn lawful(person: Person) -> Given {
    event(person, AgentRegistration { personality: Personality::Lawful })
}

pub(crate) fn claim_personality(personality: Personality) -> Claim {
    Claim { personality: Some(personality), ..Claim::default() }
}

pub(crate) fn claim_reputation(text: &str) -> Claim {
    Claim { reputation: Some(fixed(text)), ..Claim::default() }
}

pub(crate) fn report(subject: Person, claims: &[Claim]) -> ConflictReport {
    ConflictReport {
        fact: Some(FactReport { agent: subject.id(), claims: claims.to_vec() }),
        divergence: None,
        strategy: None,
        reason: "look at what it does".into(),
    }
}

/// Bob contests Ana's personality: that it is Chaotic.
pub(crate) fn contested(world: &mut World) -> ConflictId {
    let claims = [claim_personality(Personality::Chaotic)];
    world.happen(event(BOB, report(ANA, &claims)));
    open_about(world, ANA, ContestedField::Personality).unwrap()
}

/// Exclusive for defence, ten days long.
pub(crate) fn defence(members: &[Person]) -> AllianceFormation {
    let mut formation = AllianceFormation {
        exclusive: true,
        purpose: AlliancePurpose::of(PurposeKind::Defence),
        ..formation(members)
    };
    formation.terms.duration = Micros(10 * DAY);
    formation
}

pub(crate) fn form(world: &mut World, formation: AllianceFormation) -> AllianceId {
    let signers = signers(&formation);
    world.happen(Given::Event(signers, formation.into()));
    world.last.into()
}

/// Everybody who has to sign, the first member as author.
pub(crate) fn signers(formation: &AllianceFormation) -> Signers {
    let person = |id: &_| (1..1_000).map(Person).find(|person| person.id() == *id).unwrap();
    let mut members = formation.members.iter().map(person);
    by(members.next().unwrap()).with(members)
}

/// Ana and Bob for defence, then Bob and Cleo as well.
pub(crate) fn overlapping(world: &mut World) -> (AllianceId, AllianceId, ConflictId) {
    let earlier = form(world, defence(&[ANA, BOB]));
    world.happen(passed(1));
    let later = form(world, defence(&[CLEO, BOB]));
    let conflict = alliance(world, earlier).conflict.unwrap();
    (earlier, later, conflict)
}

pub(crate) fn opinion(conflict: ConflictId, option: u8) -> OpinionCast {
    OpinionCast { conflict, option }
}

pub(crate) fn resolution(conflict: ConflictId) -> ConflictResolution {
    ConflictResolution { conflict }
}

/// Each of these opts for the option.
pub(crate) fn opt(
    world: &mut World,
    conflict: ConflictId,
    people: impl IntoIterator<Item = u64>,
    option: u8,
) {
    for person in people {
        world.happen(event(Person(person), opinion(conflict, option)));
    }
}

pub(crate) fn conflict(world: &World, id: ConflictId) -> Conflict {
    world.record(&keys::conflict(&id)).unwrap()
}

pub(crate) fn outcome(world: &World, id: ConflictId) -> ConflictOutcome {
    conflict(world, id).outcome.unwrap()
}

pub(crate) fn decided(world: &World, id: ConflictId) -> Option<(Option<u8>, DecidedBy)> {
    conflict(world, id).outcome.map(|outcome| (outcome.option, outcome.by))
}

pub(crate) fn alliance(world: &World, id: AllianceId) -> Alliance {
    world.record(&keys::alliance(&id)).unwrap()
}

pub(crate) fn open_about(world: &World, subject: Person, field: ContestedField) -> Option<ConflictId> {
    let fact = ContestedFact { agent: subject.id(), field };
    world.record(&keys::open_conflict(&fact)).map(|OpenConflict { conflict }| conflict)
}

pub(crate) fn counts(world: &World) -> ConflictCounts {
    world.record(&keys::conflict_counts()).unwrap_or_default()
}

/// How many deadlines of conflicts wait in the due queue.
pub(crate) fn deadlines(world: &World) -> usize {
    let waiting = |bytes: &[u8]| bytes[0] == 5 && bytes[9] == 1;
    world.state.keys().filter(|key| key.sub_tree() == keys::SOCIAL && waiting(key.as_bytes())).count()
}

/// Writes into an account what no transition of this crate can.
pub(crate) fn account(world: &mut World, person: Person, change: impl FnOnce(&mut Account)) {
    let key = control::keys::account(&person.id());
    let mut account: Account = world.record(&key).unwrap();
    change(&mut account);
    world.happen(Given::Record(key, codec::encode(&account).into()));
}

pub(crate) fn make(world: &mut World, person: Person, role: Role) {
    account(world, person, |account| account.role = role);
}

/// Writes into a profile what would take many transitions.
pub(crate) fn profile(
    world: &mut World,
    person: Person,
    change: impl FnOnce(&mut chaoschain_schemas::society::Agent),
) {
    let mut agent = world.agent(person);
    change(&mut agent);
    world.happen(Given::Record(keys::agent(&person.id()), codec::encode(&agent).into()));
}

/// So much is due before everything else that several blocks are busy with it.
pub(crate) fn stuff_the_queue(world: &mut World) {
    for id in 0..10 {
        let key = keys::due(START, DueKind::AllianceExpiry, &[id; 32]);
        let due = Due { work: DUE_WORK_MAX };
        world.happen(Given::Record(key, codec::encode(&due).into()));
    }
}
