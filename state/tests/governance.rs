//! What validators decide together, and what they may not: quorum, suspensions, grants, and the way out that must stay.
#![allow(clippy::unwrap_used)]

use chaoschain_schemas::codec;
use chaoschain_schemas::control::{
    ChainState, Parameters, Role, RoleGrant, Suspension, Validator, Validators, kind,
};
use chaoschain_schemas::limits::{REASON_BYTES_MAX, SCHEDULE_AHEAD_MAX, SCHEDULED_MAX, VALIDATORS_MAX};
use chaoschain_schemas::{Height, Micros};
use chaoschain_state::control::{self, keys};
use support::{
    ANA, BO, CY, Given, NOW, SEALER, SPARE, Submission, change, change_of, decision, given, governed, grant,
    grant_of, id, key, note, rotate, suspend,
};

mod support;

const DEE: u64 = 4;

/// Four validators of one weight; three are more than two thirds.
fn four() -> Given {
    governed(&[(ANA, 1), (BO, 1), (CY, 1), (DEE, 1)])
}

fn chain(given: &Given) -> ChainState {
    given.record(&keys::chain()).unwrap()
}

fn weights(given: &Given) -> Vec<(u64, u64)> {
    let validators: Validators = given.record(&keys::validators()).unwrap();
    let number = |member: &Validator| (1..400).find(|number| id(*number) == member.account).unwrap();
    let mut weights: Vec<_> =
        validators.members.iter().map(|member| (number(member), member.weight)).collect();
    weights.sort_unstable();
    weights
}

#[test]
fn more_than_two_thirds_of_the_weight_decide() {
    let one_decision = |signers: &[u64]| {
        let rules = change_of(signers, &support::change(9).bent_rules(2));
        [suspend(signers, SEALER + 1, true), grant(signers, SEALER + 1, Role::Member, 5, 9), rules]
    };
    for (weights, enough, short) in [
        (
            &[(ANA, 1), (BO, 1), (CY, 1)][..],
            &[&[ANA, BO, CY][..], &[CY, BO, ANA]][..],
            &[&[ANA][..], &[ANA, BO]][..],
        ),
        (&[(ANA, 1), (BO, 1), (CY, 1), (DEE, 1)], &[&[ANA, BO, CY], &[DEE, CY, BO, ANA]], &[&[ANA, DEE]]),
        (&[(ANA, 201), (BO, 99)], &[&[ANA], &[ANA, BO], &[BO, ANA]], &[&[BO]]),
        (&[(ANA, 200), (BO, 100)], &[&[ANA, BO]], &[&[ANA], &[BO]]),
        (&[(ANA, u64::MAX / 3 * 2), (BO, u64::MAX / 3)], &[&[ANA, BO]], &[&[ANA]]),
    ] {
        let given = governed(weights).with_member(SEALER + 1);
        for (event, signers) in
            enough.iter().flat_map(|signers| one_decision(signers).map(|event| (event, signers)))
        {
            // A grant of weight must not overflow the total here.
            let full = weights.iter().any(|(_, weight)| *weight > 1000);
            if full && event.body.kind == kind::ROLE_GRANT {
                given.clone().refuses(&event, "weight_too_large");
            } else {
                given.clone().accepts(&event);
            }
            given.clone().refuses(&event.cosigned(SEALER), "cosignature_unneeded");
            assert!(signers.len() <= 4);
        }
        for event in short.iter().flat_map(|signers| one_decision(signers)) {
            given.clone().refuses(&event, "quorum_missing");
        }
    }
}

trait Bent {
    fn bent_rules(self, rules: u16) -> Self;
}

impl Bent for chaoschain_schemas::control::ParameterChange {
    fn bent_rules(mut self, rules: u16) -> Self {
        self.rules = Some(rules);
        self
    }
}

#[test]
fn only_validators_sign_and_each_counts_once() {
    let four = four();
    let by = |signers: &[u64]| suspend(signers, SEALER, false);
    four.clone()
        .refuses(&by(&[SEALER, ANA, BO, CY]), "validator_required")
        .refuses(&by(&[ANA, BO, CY, SEALER]), "cosignature_unneeded")
        .refuses(&by(&[ANA, BO, BO]), "cosignature_unneeded")
        .refuses(&by(&[ANA, BO, ANA]), "cosignature_unneeded")
        .refuses(&by(&[ANA, BO, SPARE]), "account_unknown")
        .refuses(&by(&[ANA, BO]).cosigned_as(id(CY), key(SPARE)), "key_wrong")
        .accepts(&by(&[ANA, BO, CY]));
    // Without validators nothing can be decided.
    given(&[ANA, SEALER]).refuses(&by(&[ANA]), "validator_required");
}

#[test]
fn a_suspended_validator_cannot_sign_and_weighs_in_the_total() {
    let suspended = four().accepts(&suspend(&[ANA, BO, CY], DEE, true));
    let changes = chaoschain_state::Changes::new(&suspended.state);
    let shown = control::read(&support::Guild, "validators", &[], NOW, &changes).unwrap();
    assert_eq!(shown["suspended"], serde_json::json!([id(DEE)]));
    assert_eq!(shown["members"].as_array().unwrap().len(), 4);
    suspended
        .refuses(&suspend(&[ANA, BO, DEE], SEALER, false).nonce(1), "account_suspended")
        .refuses(&suspend(&[DEE, ANA, BO, CY], DEE, false), "account_suspended")
        .refuses(&suspend(&[ANA, BO], SEALER, false).nonce(1), "quorum_missing")
        .accepts(&suspend(&[BO, ANA, CY], DEE, false))
        .accepts(&suspend(&[DEE, ANA, BO], SEALER, false));
}

#[test]
fn a_rotated_key_counts_no_more_from_the_next_event_on() {
    let given = four();
    let block = given.block();
    let mut changes = chaoschain_state::Changes::new(&given.state);
    let mut code = |submission: &Submission| {
        submission.execute(&block, &mut changes, false).map_err(|rejection| rejection.code())
    };
    assert_eq!(code(&rotate(CY, SPARE)), Ok(()));
    let old = suspend(&[ANA, BO, CY], SEALER, false);
    assert_eq!(code(&old), Err("key_wrong"));
    let new = suspend(&[ANA, BO], SEALER, false).cosigned_as(id(CY), key(SPARE));
    assert_eq!(code(&new), Ok(()));
    assert_eq!(code(&suspend(&[CY, ANA, BO], SEALER, false).nonce(1)), Err("key_wrong"));
}

#[test]
fn suspension_holds_from_the_next_event_on() {
    let given = four().with_member(SPARE).accepts(&note(SPARE));
    let suspended = given
        .accepts(&suspend(&[ANA, BO, CY], SPARE, true))
        .refuses(&note(SPARE).nonce(1), "account_suspended");
    assert!(suspended.account(SPARE).unwrap().suspended);
    suspended.accepts(&suspend(&[ANA, BO, CY], SPARE, false).nonce(1)).accepts(&note(SPARE).nonce(1));
}

#[test]
fn who_suspends_itself_is_suspended() {
    let given = governed(&[(ANA, 10), (BO, 1)]).accepts(&suspend(&[ANA], BO, true));
    assert_eq!(chain(&given), ChainState { epoch: 0, rules: 1, producers: 1, weight_suspended: 1 });
    let given = given.accepts(&suspend(&[ANA], BO, false).nonce(1));
    assert_eq!(chain(&given).weight_suspended, 0);
    let five = governed(&[(ANA, 1), (BO, 1), (CY, 1), (DEE, 1), (5, 1)]);
    let given = five.accepts(&suspend(&[ANA, BO, CY, DEE], ANA, true));
    let ana = given.account(ANA).unwrap();
    assert_eq!((ana.suspended, ana.nonces[0]), (true, 1));
}

#[test]
fn a_producer_that_may_seal_is_always_left() {
    let both = four().with_member(SPARE);
    let both = both
        .refuses(&suspend(&[ANA, BO, CY], SEALER, true), "last_producer")
        .refuses(&grant(&[ANA, BO, CY], SEALER, Role::Member, 0, 9), "last_producer")
        .accepts(&grant(&[ANA, BO, CY], SPARE, Role::Producer, 0, 5))
        // Not in force yet.
        .refuses(&suspend(&[ANA, BO, CY], SEALER, true).nonce(1), "last_producer")
        // But by then it will be.
        .accepts(&grant(&[BO, ANA, CY], SEALER, Role::Member, 0, 6))
        .at_height(5);
    assert_eq!(chain(&both).producers, 2);
    let one = both
        .accepts(&suspend(&[ANA, BO, CY], SEALER, true).nonce(1))
        .refuses(&suspend(&[ANA, BO, CY], SPARE, true).nonce(2), "last_producer");
    assert_eq!(chain(&one).producers, 1);
    let one = one.at_height(6);
    assert_eq!(chain(&one).producers, 1);
    assert_eq!(one.account(SEALER).unwrap().role, Role::Member);
}

#[test]
fn validators_that_may_sign_always_have_a_quorum() {
    let three = governed(&[(ANA, 1), (BO, 1), (CY, 1)]).with_member(SPARE);
    three
        .refuses(&suspend(&[ANA, BO, CY], CY, true), "last_validator")
        .accepts(&grant(&[ANA, BO, CY], CY, Role::Member, 0, 5))
        .at_height(5)
        .refuses(&grant(&[ANA, BO, CY], SPARE, Role::Member, 1, 9).nonce(1), "cosignature_unneeded")
        .accepts(&suspend(&[ANA, BO], CY, true).nonce(1))
        .refuses(&grant(&[ANA, BO], CY, Role::Member, 9, 9).nonce(2), "last_validator")
        .accepts(&grant(&[ANA, BO], BO, Role::Member, 0, 9).nonce(2))
        .refuses(&grant(&[ANA, BO], ANA, Role::Member, 0, 9).nonce(3), "last_validator");
    // With four, one may be suspended, and no second one.
    four()
        .accepts(&suspend(&[ANA, BO, CY], DEE, true))
        .refuses(&suspend(&[ANA, BO, CY], CY, true).nonce(1), "last_validator");
}

#[test]
fn a_grant_replaces_role_weight_and_sponsorships() {
    let grant =
        RoleGrant { account: id(SPARE), role: Role::Producer, weight: 7, sponsorships: 3, at: Height(6) };
    let given = four().with_member(SPARE).accepts(&grant_of(&[ANA, BO, CY], &grant)).at_height(5);
    assert_eq!(given.account(SPARE).unwrap().role, Role::Member);
    let given = given.at_height(6);
    let account = given.account(SPARE).unwrap();
    assert_eq!((account.role, account.sponsorships), (Role::Producer, 3));
    assert_eq!(weights(&given), [(ANA, 1), (BO, 1), (CY, 1), (DEE, 1), (SPARE, 7)]);
    let validators: Validators = given.record(&keys::validators()).unwrap();
    assert_eq!(validators.since, Height(7), "the old set attests the block that the new one begins with");
    assert!(validators.members.is_sorted_by(|a, b| a.account < b.account));
    assert_eq!(chain(&given).producers, 2);
    let given = given.refuses(&suspend(&[ANA, BO, CY, DEE], DEE, false).nonce(1), "quorum_missing");
    let all = support::grant(&[ANA, BO, CY, DEE, SPARE], SPARE, Role::Member, 0, 7).nonce(1);
    let given = given.accepts(&all).at_height(7);
    assert_eq!(weights(&given), [(ANA, 1), (BO, 1), (CY, 1), (DEE, 1)]);
    assert_eq!(chain(&given).producers, 1);
}

#[test]
fn a_set_has_its_limits() {
    let numbers: Vec<(u64, u64)> = (200..200 + VALIDATORS_MAX as u64 - 1).map(|number| (number, 1)).collect();
    let all = [&[(ANA, 1000)][..], &numbers].concat();
    governed(&all)
        .refuses(&grant(&[ANA], SEALER, Role::Producer, 1, 9), "validators_full")
        .accepts(&grant(&[ANA], 200, Role::Member, 0, 9))
        .accepts(&grant(&[ANA], SEALER, Role::Producer, 1, 9).nonce(1));
    governed(&[(ANA, u64::MAX - 1)])
        .refuses(&grant(&[ANA], SEALER, Role::Producer, 2, 9), "weight_too_large")
        .accepts(&grant(&[ANA], SEALER, Role::Producer, 1, 9));
    four().refuses(&grant(&[ANA, BO, CY], SPARE, Role::Member, 1, 9), "account_unknown");
    four().refuses(&suspend(&[ANA, BO, CY], SPARE, true), "account_unknown");
}

/// 64 signatures of 96 equal validators are two thirds and not more: such a set could decide nothing, for ever.
#[test]
fn one_envelope_has_room_for_a_quorum() {
    let equal = |count: u64| (200..200 + count).map(|number| (number, 1)).collect::<Vec<_>>();
    let signers: Vec<u64> = (200..264).collect();
    governed(&equal(94))
        .accepts(&grant(&signers, SEALER, Role::Producer, 1, 9))
        .at_height(9)
        .refuses(&suspend(&signers, 290, true).nonce(1), "quorum_unsignable")
        .accepts(&suspend(&signers, 290, false).nonce(1));
    let full = governed(&equal(95))
        .refuses(&grant(&signers, SEALER, Role::Producer, 1, 9), "quorum_unsignable")
        .accepts(&grant(&signers, 294, Role::Member, 0, 9))
        .accepts(&grant(&signers, SEALER, Role::Producer, 1, 9).nonce(1));
    // The one that takes a place falls away where the one that leaves it does not leave.
    let validators = weights(&full.accepts(&grant(&signers, 294, Role::Member, 1, 8).nonce(2)).at_height(9));
    assert_eq!(validators.len(), 95);
    // A few heavy ones can always decide.
    governed(&[&[(ANA, 600)][..], &equal(200)].concat()).accepts(&suspend(&[ANA], 210, true));
}

#[test]
fn decisions_are_of_their_form() {
    let quorum = [ANA, BO, CY];
    let reason = |bytes| {
        let suspension = Suspension { account: id(SEALER), suspended: false, reason: "r".repeat(bytes) };
        decision(&quorum, kind::SUSPENSION, &suspension)
    };
    let kernel = |edit: fn(&mut Parameters)| {
        let mut kernel = Parameters::default();
        edit(&mut kernel);
        change_of(
            &quorum,
            &chaoschain_schemas::control::ParameterChange { kernel: Some(kernel), ..change(9) },
        )
    };
    let domain = |bytes: Vec<u8>| {
        change_of(
            &quorum,
            &chaoschain_schemas::control::ParameterChange { domain: Some(bytes.into()), ..change(9) },
        )
    };
    let reasonless =
        chaoschain_schemas::control::ParameterChange { reason: String::new(), ..change(9).bent_rules(2) };
    for refused in [
        reason(0),
        reason(REASON_BYTES_MAX + 1),
        change_of(&quorum, &change(9)),
        change_of(&quorum, &reasonless),
        kernel(|it| it.time_step_max = Micros::from_secs(3599)),
        kernel(|it| it.time_step_max = Micros(u64::MAX)),
        kernel(|it| it.valid_until_max = Micros(999_999)),
        kernel(|it| it.valid_until_max = Micros(u64::MAX)),
        kernel(|it| it.author_window = Micros(999_999)),
        kernel(|it| it.author_window = Micros::from_secs(24 * 3600 + 1)),
        domain(vec![0x93]).bent(|it| it.body.payload = codec::encode(&0_u8).into()),
    ] {
        four().refuses(&refused, "malformed");
    }
    four().refuses(&domain(vec![0x91]), "truncated");
    four().refuses(&domain(vec![0x91, 5, 5]), "trailing_bytes");
    four().refuses(&domain([&[0x91][..], &[5; 3072]].concat()), "too_large");
    four()
        .accepts(&reason(1))
        .accepts(&reason(REASON_BYTES_MAX).nonce(1))
        .accepts(&domain(vec![0x91, 5]).nonce(2));
}

#[test]
fn every_refusal_has_its_message() {
    let quorum = [ANA, BO, CY];
    let far = 4 + SCHEDULE_AHEAD_MAX;
    let submissions = [
        suspend(&[SEALER, ANA], SEALER, false),
        suspend(&[ANA, BO], SEALER, false),
        suspend(&quorum, SEALER, true),
        grant(&quorum, SEALER, Role::Member, 0, 4),
        grant(&quorum, SEALER, Role::Producer, 0, far + 1),
        grant(&quorum, SEALER, Role::Producer, u64::MAX, 9),
        change_of(&quorum, &change(9).bent_rules(3)),
    ];
    let mut lines: Vec<String> = submissions
        .iter()
        .map(|submission| {
            let rejection = four().decide(submission).unwrap_err();
            format!("{}: {rejection}", rejection.code())
        })
        .collect();
    let two = governed(&[(ANA, 1), (BO, 1), (CY, 1)]);
    lines.push(two.decide(&suspend(&quorum, BO, true)).unwrap_err().to_string());
    let many: Vec<(u64, u64)> = (200..295).map(|number| (number, 1)).collect();
    let signers: Vec<u64> = (200..264).collect();
    let scattered = governed(&many).decide(&grant(&signers, SEALER, Role::Producer, 1, 9));
    lines.push(scattered.unwrap_err().to_string());
    let full = (0..SCHEDULED_MAX as u64).fold(four(), |given, nonce| {
        given.accepts(&grant(&quorum, SEALER, Role::Producer, 0, far).nonce(nonce))
    });
    lines.push(full.decide(&grant(&quorum, ANA, Role::Member, 1, 9).nonce(16)).unwrap_err().to_string());
    let told =
        lines.join("\n").replace(&id(SEALER).to_string(), "<sealer>").replace(&id(BO).to_string(), "<bo>");
    insta::assert_snapshot!(told, @r"
    validator_required: <sealer> is not a validator, and only one may author this
    quorum_missing: validators with a weight of 2 of 4 have signed; more than two thirds must
    last_producer: <sealer> is the last producer that may seal blocks; make another one first
    schedule_height_wrong: a change for block 4 cannot be scheduled now; it may be for blocks 5 to 10000004
    schedule_height_wrong: a change for block 10000005 cannot be scheduled now; it may be for blocks 5 to 10000004
    weight_too_large: the validators' weights together would be more than 2^64 - 1
    rules_version_wrong: rules version 3 cannot follow version 1, which is in force at that height
    with this change of <bo> the validators that may sign would have 2 of 3 weight, not more than two thirds; change weights first
    with this change of <sealer> the 64 heaviest validators, less all that is suspended, would have 64 of 96 weight, not more than two thirds, and no more can sign one decision; give fewer validators more weight
    16 changes are scheduled already; wait until one takes effect
    ");
}
