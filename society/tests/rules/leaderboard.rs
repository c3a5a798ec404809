//! The read model that ranks agents.

use chaoschain_schemas::society::{AgentStatus, ReputationUpdate, StatusUpdate};
use chaoschain_schemas::{Fixed, Height};
use chaoschain_society::Leaderboard;
use chaoschain_state::Change;
use chaoschain_state::domain::{ReadError, ReadModel};
use serde_json::json;

use crate::support::*;

fn top(board: &Leaderboard) -> Vec<String> {
    let rows = board.query(&[]).unwrap();
    let name = |id: &str| {
        ["-", "ana", "bob", "cleo"][(1..=3).find(|n| Person(*n).id().to_string() == id).unwrap() as usize]
    };
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row["rank"],
                name(row["id"].as_str().unwrap()),
                row["reputation"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn ranks_by_reputation_then_by_age_and_follows_each_block() {
    let mut world = given([]);
    let mut board = Leaderboard::default();
    let rate =
        |from, to: Person, rating| event(from, ReputationUpdate { subject: to.id(), rating: fixed(rating) });
    let mut step = |fact| {
        world.happen(fact);
        board.apply(Height(1), &world.changes);
        top(&board)
    };
    step(registered(BOB));
    step(registered(ANA));
    assert_eq!(step(registered(CLEO)), ["1 bob 0.5", "2 ana 0.5", "3 cleo 0.5"]);
    assert_eq!(step(rate(ANA, CLEO, "1")), ["1 cleo 0.525", "2 bob 0.5", "3 ana 0.5"]);
    assert_eq!(step(rate(CLEO, BOB, "-1")), ["1 cleo 0.525", "2 ana 0.5", "3 bob 0.47375"]);
    let quiet = StatusUpdate { status: AgentStatus::Inactive, reason: "tired".into(), expected: None };
    assert_eq!(step(event(ANA, quiet)).len(), 3);

    // Told the whole state at once, it says the same.
    let all = |(key, value): (&_, &chaoschain_state::Value)| Change {
        key: *key,
        before: None,
        after: Some(value.clone()),
    };
    let mut rebuilt = Leaderboard::default();
    rebuilt.apply(Height(9), &world.state.iter().map(all).collect::<Vec<_>>());
    assert_eq!(rebuilt.query(&[]), board.query(&[]));

    // Told the reverse, it forgets.
    let undone: Vec<_> = world
        .state
        .iter()
        .map(all)
        .map(|change| Change { before: change.after, after: None, ..change })
        .collect();
    rebuilt.apply(Height(10), &undone);
    assert_eq!(rebuilt.query(&[]), Ok(json!([])));
}

#[test]
fn an_ordinal_may_pass_to_another_agent_in_one_block() {
    let record = |people: &[Person]| given(people.iter().copied().map(registered)).state;
    let key = |person: Person| chaoschain_society::keys::agent(&person.id());
    let (ana, bob) = (record(&[ANA])[&key(ANA)].clone(), record(&[BOB])[&key(BOB)].clone());
    for (gone, come) in [((ANA, &ana), (BOB, &bob)), ((BOB, &bob), (ANA, &ana))] {
        let mut board = Leaderboard::default();
        let first = Change { key: key(gone.0), before: None, after: Some(gone.1.clone()) };
        board.apply(Height(1), std::slice::from_ref(&first));
        let mut swap = vec![
            Change { before: first.after, after: None, ..first },
            Change { key: key(come.0), before: None, after: Some(come.1.clone()) },
        ];
        swap.sort_by_key(|change| change.key);
        board.apply(Height(2), &swap);
        let rows = board.query(&[]).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1);
        assert_eq!(rows[0]["id"], come.0.id().to_string());
    }
}

#[test]
fn rows_are_asked_for_within_bounds() {
    let mut world = given((1..=12).map(|n| registered(Person(n))));
    let mut board = Leaderboard::default();
    let all: Vec<_> = std::mem::take(&mut world.state)
        .into_iter()
        .map(|(key, value)| Change { key, before: None, after: Some(value) })
        .collect();
    board.apply(Height(0), &all);
    let rows = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        board.query(&arguments).map(|rows| rows.as_array().unwrap().len())
    };
    assert_eq!(rows(&[]), Ok(10));
    assert_eq!(rows(&["3"]), Ok(3));
    assert_eq!(rows(&["1000"]), Ok(12));
    for refused in [&["0"][..], &["1001"], &["x"], &["1", "2"]] {
        assert!(matches!(rows(refused), Err(ReadError::Argument(_))), "{refused:?}");
    }
    let first = &board.query(&["1".into()]).unwrap()[0];
    assert_eq!(
        first.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["rank", "id", "reputation", "influence"]
    );
    assert_eq!(first["influence"], Fixed::HALF.to_string());
}
