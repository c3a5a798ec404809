//! Drama that agents record.

use chaoschain_schemas::society::{DramaEvent, DramaKind, DramaRecord};
use chaoschain_schemas::{EventAddress, Height};
use chaoschain_society::keys;

use crate::support::*;

fn record(kind: DramaKind, level: u8) -> DramaRecord {
    DramaRecord { kind, text: "hid every template".into(), level }
}

#[test]
fn drama_stands_at_the_address_of_its_transition() {
    for (kind, level) in [(DramaKind::Drama, 0), (DramaKind::Chaos, 10)] {
        let world = given([registered(ANA), passed(9)]).when(by(ANA), record(kind, level)).then_accepted();
        let want = DramaEvent {
            kind,
            agent: ANA.id(),
            text: "hid every template".into(),
            level,
            at: world.now,
            alliance: None,
        };
        assert_eq!(world.drama(), Some(want));
    }
}

#[test]
fn several_in_a_block_stand_in_their_order() {
    let mut world = given([registered(ANA), registered(BOB)]);
    let event = |who, level| (by(who), record(DramaKind::Drama, level).into());
    let results = world.block(&[event(ANA, 1), event(BOB, 11), event(BOB, 2), event(ANA, 3)]);
    assert!(results[1].1.is_err());
    for (index, level) in [(0, 1), (1, 2), (2, 3)] {
        let key = keys::drama(EventAddress { height: Height(3), index });
        let drama: DramaEvent = world.record(&key).unwrap();
        assert_eq!(drama.level, level);
    }
}

#[test]
fn drama_that_is_refused() {
    for kind in [
        DramaKind::DramaticBreakup,
        DramaKind::Betrayal,
        DramaKind::Reconciliation,
        DramaKind::PersonalityShift,
    ] {
        given([registered(ANA)]).when(by(ANA), record(kind, 1)).then_rejected("drama_kind");
    }
    let drama = DramaKind::Drama;
    given([registered(ANA)]).when(by(ANA), record(drama, 11)).then_rejected("out_of_range");
    given([Given::Account(ANA)]).when(by(ANA), record(drama, 1)).then_rejected("agent_unknown");
    for text in [String::new(), "x".repeat(257)] {
        let record = DramaRecord { text, ..record(drama, 1) };
        given([registered(ANA)]).when(by(ANA), record).then_rejected("malformed");
    }
    let longest = DramaRecord { text: "x".repeat(256), ..record(drama, 1) };
    given([registered(ANA)]).when(by(ANA), longest).then_accepted();
}
