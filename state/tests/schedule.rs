//! What waits for its height: it takes effect at the start of that block, in order, or is dropped.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chaoschain_schemas::control::{ChainState, ParameterChange, Parameters, Role, Schedule, Validators};
use chaoschain_schemas::limits::{SCHEDULE_AHEAD_MAX, SCHEDULED_MAX};
use chaoschain_schemas::{AccountId, CodecError, Hash, Height, Micros, Timestamp, codec};
use chaoschain_state::control::{self, keys};
use chaoschain_state::domain::{Domain, EventContext, KindSpec, Machine, ReadError, ReadSpec};
use chaoschain_state::{Changes, Forest, Key, Rejection, StateVersion, View};
use proptest::prelude::*;
use serde_json::Value as Json;
use support::{
    ANA, BO, CHAIN, CY, Given, Guild, GuildParameters, SEALER, SPARE, Submission, change, change_of,
    governed, grant, id, join, note, suspend, toast,
};

mod support;

fn one() -> Given {
    governed(&[(ANA, 3), (BO, 1)])
}

fn schedule(given: &Given) -> Vec<(u64, u16)> {
    let schedule: Schedule = given.record(&keys::schedule()).unwrap_or_default();
    schedule.changes.iter().map(|change| (change.at.0, change.kind)).collect()
}

fn rules(at: u64, rules: u16) -> ParameterChange {
    ParameterChange { rules: Some(rules), ..change(at) }
}

#[test]
fn a_change_is_for_a_later_block_and_not_too_late_a_one() {
    let last = 4 + SCHEDULE_AHEAD_MAX;
    for at in [0, 3, 4, last + 1, u64::MAX] {
        one().refuses(&grant(&[ANA], SEALER, Role::Producer, 0, at), "schedule_height_wrong");
        one().refuses(&change_of(&[ANA], &rules(at, 2)), "schedule_height_wrong");
    }
    for at in [5, last] {
        one().accepts(&change_of(&[ANA], &rules(at, 2)));
    }
}

#[test]
fn as_many_wait_as_may() {
    let fill =
        |given: Given, nonce: u64| given.accepts(&grant(&[ANA], SEALER, Role::Producer, 0, 9).nonce(nonce));
    let crowded = (0..SCHEDULED_MAX as u64).fold(one(), fill);
    let next = grant(&[ANA], SEALER, Role::Producer, 0, 20).nonce(SCHEDULED_MAX as u64);
    crowded.refuses(&next, "schedule_full").at_height(9).accepts(&next);
}

#[test]
fn the_largest_schedule_is_a_record() {
    let most = ParameterChange {
        kernel: Some(Parameters::default()),
        domain: Some(vec![0; chaoschain_schemas::limits::DOMAIN_PARAMETERS_BYTES_MAX].into()),
        rules: Some(u16::MAX),
        reason: "r".repeat(chaoschain_schemas::limits::REASON_BYTES_MAX),
        at: Height(u64::MAX),
    };
    let payload = codec::encode(&most);
    let spec = control::kind_named(&Guild, "ParameterChange").unwrap();
    assert!(payload.len() <= spec.bytes_max);
    let scheduled = chaoschain_schemas::control::Scheduled {
        at: Height(u64::MAX),
        event: chaoschain_schemas::EventAddress { height: Height(u64::MAX), index: u32::MAX },
        kind: u16::MAX,
        payload: vec![0; spec.bytes_max].into(),
    };
    let schedule = Schedule { changes: vec![scheduled; SCHEDULED_MAX] };
    assert!(codec::encode(&schedule).len() <= chaoschain_schemas::limits::VALUE_BYTES_MAX);
}

#[test]
fn changes_wait_in_the_order_of_their_heights_then_of_their_events() {
    let given = one()
        .accepts(&change_of(&[ANA], &rules(9, 2)))
        .accepts(&grant(&[ANA], SPARE_MEMBER, Role::Member, 0, 7).nonce(1))
        .accepts(&grant(&[ANA], SPARE_MEMBER, Role::Producer, 0, 9).nonce(2))
        .accepts(&change_of(&[ANA], &rules_less(8)).nonce(3));
    assert_eq!(schedule(&given), [(7, 3), (8, 5), (9, 5), (9, 3)]);
    let given = given.at_height(8);
    assert_eq!(schedule(&given), [(9, 5), (9, 3)]);
    let given = given.at_height(9);
    assert_eq!(given.state.get(&keys::schedule()), None);
}

const SPARE_MEMBER: u64 = BO;

fn rules_less(at: u64) -> ParameterChange {
    ParameterChange { domain: Some(codec::encode(&GuildParameters { members_max: 1 }).into()), ..change(at) }
}

#[test]
fn parameters_hold_from_their_blocks_first_event_on() {
    let kernel = Parameters { valid_until_max: Micros::from_secs(5), ..Parameters::default() };
    let change = ParameterChange {
        kernel: Some(kernel.clone()),
        domain: Some(codec::encode(&GuildParameters { members_max: 1 }).into()),
        rules: Some(2),
        ..change(6)
    };
    let given = one().accepts(&change_of(&[ANA], &change)).at_height(5);
    assert_eq!(given.block().rules, 1);
    let given = given.accepts(&join(CY));
    // The context of the block, before it begins, is what is in force in it.
    let block = support::block_over(&given.state, Height(6), given.now);
    assert_eq!((block.rules, &block.parameters), (2, &kernel));
    assert_eq!(block.domain_parameters.bytes()[..], codec::encode(&GuildParameters { members_max: 1 })[..]);
    let after = given.at_height(6).refuses(&join(SPARE), "guild_full");
    assert_eq!(after.record::<Parameters>(&keys::parameters()), Some(kernel));
    assert_eq!(after.record::<ChainState>(&keys::chain()).unwrap().rules, 2);
    assert_eq!(after.block(), support::block_over(&after.state, Height(6), after.now));
    // And in every later one.
    assert_eq!(support::block_over(&after.state, Height(7), after.now).rules, 2);
}

#[test]
fn rules_follow_one_another() {
    one()
        .refuses(&change_of(&[ANA], &rules(9, 1)), "rules_version_wrong")
        .refuses(&change_of(&[ANA], &rules(9, 3)), "rules_version_wrong")
        .accepts(&change_of(&[ANA], &rules(9, 2)))
        .refuses(&change_of(&[ANA], &rules(8, 3)).nonce(1), "rules_version_wrong")
        .refuses(&change_of(&[ANA], &rules(9, 2)).nonce(1), "rules_version_wrong")
        .accepts(&change_of(&[ANA], &rules(9, 3)).nonce(1))
        .accepts(&change_of(&[ANA], &rules(11, 4)).nonce(2));
}

#[test]
fn what_can_be_done_no_more_is_dropped_whole() {
    // Version 2 comes sooner than it was decided first, so the later change to it has no place.
    let kernel = Parameters { author_events_max: 9, ..Parameters::default() };
    let later = ParameterChange { kernel: Some(kernel), ..rules(9, 2) };
    let given = one()
        .accepts(&change_of(&[ANA], &later))
        .accepts(&change_of(&[ANA], &rules(7, 2)).nonce(1))
        .at_height(9);
    assert_eq!(given.block().rules, 2);
    assert_eq!(given.block().parameters.author_events_max, 0);
    assert_eq!(schedule(&given), []);

    // The other producer was suspended meanwhile.
    let given = one()
        .with_member(SPARE)
        .accepts(&grant(&[ANA], SPARE, Role::Producer, 0, 5))
        .accepts(&grant(&[ANA], SEALER, Role::Member, 0, 9).nonce(1))
        .at_height(6)
        .accepts(&suspend(&[ANA], SPARE, true).nonce(2))
        .at_height(9);
    assert_eq!(given.account(SEALER).unwrap().role, Role::Producer);
    assert_eq!(schedule(&given), []);
}

/// A build of before rules 2: it differs from [`Guild`] in nothing else.
struct OldGuild;

impl Domain for OldGuild {
    const ID: &'static str = Guild::ID;
    const RULES: u16 = 1;
    const SUB_TREES: &'static [&'static str] = Guild::SUB_TREES;
    const KINDS: &'static [KindSpec] = Guild::KINDS;
    const READS: &'static [ReadSpec] = Guild::READS;

    type Transition = support::Deed;
    type Parameters = GuildParameters;

    fn decode(kind: u16, payload: &[u8]) -> Result<support::Deed, CodecError> {
        Guild::decode(kind, payload)
    }

    fn parties(deed: &support::Deed, author: &AccountId) -> Vec<AccountId> {
        <Guild as Domain>::parties(deed, author)
    }

    fn verify(
        context: &EventContext<'_, GuildParameters>,
        view: &dyn View,
        deed: &support::Deed,
    ) -> Result<(), Rejection> {
        Guild::verify(context, view, deed)
    }

    fn apply(context: &EventContext<'_, GuildParameters>, changes: &mut Changes<'_>, deed: &support::Deed) {
        Guild::apply(context, changes, deed);
    }

    fn transition_to_json(kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
        <Guild as Domain>::transition_to_json(kind, payload)
    }

    fn transition_from_json(kind: u16, json: &Json) -> Result<Vec<u8>, String> {
        <Guild as Domain>::transition_from_json(kind, json)
    }

    fn record_to_json(key: &Key, value: &[u8]) -> Option<Json> {
        <Guild as Domain>::record_to_json(key, value)
    }

    fn read(name: &str, arguments: &[String], now: Timestamp, view: &dyn View) -> Result<Json, ReadError> {
        <Guild as Domain>::read(name, arguments, now, view)
    }
}

fn members(at: u64, rules: Option<u16>, members_max: u32) -> ParameterChange {
    ParameterChange {
        rules,
        domain: Some(codec::encode(&GuildParameters { members_max }).into()),
        ..change(at)
    }
}

/// Parameters were once judged by the newest rules of whoever judged, so that builds before and after an upgrade disagreed.
#[test]
fn parameters_are_judged_by_the_rules_that_they_come_into_force_with() {
    let many = support::MEMBERS_MAX_SINCE_2 + 1;
    let rubbish = ParameterChange { domain: Some(vec![0xc1].into()), ..rules(9, 2) };
    let announced = one().accepts(&change_of(&[ANA], &rules(7, 2)));
    for (given, change, nonce, code) in [
        (&one(), members(9, None, many), 0, Ok(())),
        (&one(), members(9, Some(2), many), 0, Ok(())),
        (&one(), rubbish.clone(), 0, Ok(())),
        (&one(), ParameterChange { rules: None, ..rubbish.clone() }, 0, Err("malformed")),
        (&announced, members(9, None, many), 1, Ok(())),
        (&announced, members(6, None, many), 1, Ok(())),
        (&announced.clone().at_height(7), members(9, None, many), 1, Err("malformed")),
        (&announced.clone().at_height(7), members(9, None, many - 1), 1, Ok(())),
    ] {
        let submission = change_of(&[ANA], &change).nonce(nonce);
        for machine in [&Guild as &dyn Machine, &OldGuild] {
            if given.block().rules > machine.rules() {
                continue;
            }
            let mut changes = Changes::new(&given.state);
            let verdict = submission.execute_by(machine, &given.block(), &mut changes, false);
            assert_eq!(
                verdict.map_err(|rejection| rejection.code()),
                code,
                "{change:?} by {}",
                machine.rules()
            );
        }
    }
    // Whatever was let in unread is judged when it comes into force, and dropped whole.
    for change in [members(9, Some(2), many), rubbish] {
        let given = one().accepts(&change_of(&[ANA], &change)).at_height(9);
        assert_eq!((given.block().rules, schedule(&given)), (1, vec![]));
        assert_eq!(
            given.block().domain_parameters.bytes()[..],
            codec::encode(&GuildParameters::default())[..]
        );
        // A build that does not know those rules takes them for in force, and stops.
        let before = one().accepts(&change_of(&[ANA], &change)).at_height(8);
        let block =
            control::block_context(&OldGuild, &before.state, CHAIN, Height(9), Hash::ZERO, before.now)
                .unwrap();
        assert_eq!(block.rules, 2);
    }
    // Let in under the rules of before, and overtaken by the next ones.
    let given = announced.accepts(&change_of(&[ANA], &members(9, None, many)).nonce(1)).at_height(9);
    assert_eq!(given.block().rules, 2);
    assert_eq!(given.block().domain_parameters.bytes()[..], codec::encode(&GuildParameters::default())[..]);
}

#[test]
fn a_kind_is_known_from_its_rules_on() {
    one()
        .accepts(&change_of(&[ANA], &rules(9, 2)))
        .at_height(8)
        .refuses(&toast(BO), "kind_unknown")
        .at_height(9)
        .accepts(&toast(BO));
}

#[test]
fn what_is_scheduled_is_read() {
    let given = one().accepts(&grant(&[ANA], BO, Role::Producer, 4, 9));
    let changes = Changes::new(&given.state);
    let shown = control::read(&Guild, "parameters", &[], Timestamp(0), &changes).unwrap();
    assert_eq!(
        shown["scheduled"],
        serde_json::json!([{
            "at": 9, "event": { "height": 4, "index": 2 }, "kind": "RoleGrant",
            "change": { "account": id(BO), "role": "Producer", "weight": 4, "sponsorships": 0, "at": 9 },
        }])
    );
    let change = ParameterChange { rules: Some(2), ..rules_less(8) };
    let payload = codec::encode(&change);
    let json = control::transition_to_json(&Guild, 5, &payload).unwrap();
    let expected = serde_json::json!({
        "at": 8, "kernel": null, "domain": { "members_max": 1 }, "rules": 2, "reason": "better",
    });
    assert_eq!(json, expected);
    assert_eq!(control::transition_from_json(&Guild, 5, &json), Ok(payload.into()));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Event(Box<Submission>),
    Block,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let people = || prop_oneof![Just(ANA), Just(BO), Just(CY), Just(SEALER)];
    let roles = prop_oneof![Just(Role::Member), Just(Role::Producer), Just(Role::Validator)];
    let step = prop_oneof![
        4 => Just(Step::Block),
        3 => (people(), roles, 0..4_u64, 1..40_u64)
            .prop_map(|(account, role, weight, at)| Step::Event(Box::new(grant(&[ANA, BO], account, role, weight, at)))),
        2 => (people(), any::<bool>()).prop_map(|(account, on)| Step::Event(Box::new(suspend(&[ANA, BO], account, on)))),
        2 => (1..40_u64, 1..6_u16).prop_map(|(at, version)| Step::Event(Box::new(change_of(&[ANA, BO], &rules(at, version))))),
        1 => (1..40_u64).prop_map(|at| Step::Event(Box::new(change_of(&[ANA], &rules_less(at))))),
        2 => people().prop_map(|author| Step::Event(Box::new(note(author)))),
    ];
    prop::collection::vec(step, 1..60)
}

/// Folds the steps over states of a forest, one version a block, and answers the roots.
fn roots(
    steps: &[Step],
    restart_every: usize,
) -> (Vec<Hash>, BTreeMap<chaoschain_state::Key, chaoschain_state::Value>) {
    let mut given = governed(&[(ANA, 3), (BO, 2)]).with_member(CY);
    let initial = |given: &Given| {
        given
            .state
            .iter()
            .map(|(key, value)| chaoschain_state::Change {
                key: *key,
                before: None,
                after: Some(value.clone()),
            })
            .collect::<Vec<_>>()
    };
    let mut forest = Forest::new(2);
    forest.apply(&initial(&given), None).unwrap();
    let mut nonces: BTreeMap<_, u64> = BTreeMap::new();
    let mut roots = Vec::new();
    let mut rest = steps;
    while !rest.is_empty() {
        let end = rest.iter().position(|step| matches!(step, Step::Block)).map_or(rest.len(), |at| at + 1);
        let (events, after) = rest.split_at(end);
        rest = after;
        given.height = given.height.next();
        let state: std::sync::Arc<StateVersion> = std::sync::Arc::clone(forest.head());
        let block =
            control::block_context(&Guild, &*state, CHAIN, given.height, Hash::ZERO, given.now).unwrap();
        let mut changes = Changes::new(&*state);
        control::begin_block(&Guild, &block, &mut changes);
        for event in events {
            let Step::Event(event) = event else { continue };
            let nonce = nonces.entry(event.body.author).or_default();
            let event = event.clone().nonce(*nonce);
            if event.execute(&block, &mut changes, false).is_ok() {
                *nonce += 1;
            }
            assert_eq!(changes.fault(), None);
        }
        let changes = changes.into_changes();
        given.absorb(changes.clone());
        forest.apply(&changes, None).unwrap();
        if roots.len() % restart_every == 0 {
            // A node that has only the rows.
            forest = Forest::new(2);
            forest.apply(&initial(&given), None).unwrap();
        }
        roots.push(forest.head().root());
    }
    (roots, given.state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One history gives one root at every height, wherever a node starts again; and governance never locks itself out.
    #[test]
    fn a_history_of_decisions_has_one_root(steps in steps(), restart_every in 1..9_usize) {
        let (all, state) = roots(&steps, usize::MAX);
        let (again, _) = roots(&steps, restart_every);
        prop_assert_eq!(all, again);
        let given = Given { state, ..governed(&[]) };
        let chain: ChainState = given.record(&keys::chain()).unwrap();
        let validators: Validators = given.record(&keys::validators()).unwrap();
        let accounts = [ANA, BO, CY, SEALER].map(|number| (number, given.account(number).unwrap()));
        let sealing = accounts.iter().filter(|(_, account)| control::may_produce(account)).count();
        prop_assert_eq!(chain.producers as usize, sealing);
        prop_assert!(sealing > 0);
        let weight = |number: &u64| validators.weight_of(&id(*number)).unwrap_or(0);
        let suspended: u64 = accounts.iter().filter(|(_, it)| it.suspended).map(|(number, _)| weight(number)).sum();
        prop_assert_eq!(chain.weight_suspended, suspended);
        prop_assert!(3 * (validators.total() - suspended) > 2 * validators.total());
    }
}
