//! How many transitions of one author a window of block time takes.
#![allow(clippy::unwrap_used)]

use chaoschain_schemas::{Micros, Timestamp};
use chaoschain_state::Rejection;
use support::{ANA, BO, CY, Given, Submission, given, note, pact, register, rotate};

mod support;

const WINDOW: Micros = Micros(10_000);

/// Two transitions every 10 ms of block time.
fn limited() -> Given {
    given(&[ANA, BO]).with_parameters(|parameters| {
        parameters.author_events_max = 2;
        parameters.author_window = WINDOW;
    })
}

fn at(given: Given, micros: u64) -> Given {
    Given { now: Timestamp(micros), ..given }
}

fn valid(submission: Submission, given: &Given) -> Submission {
    submission.bent(|it| it.body.valid_until = given.now)
}

#[test]
fn a_window_takes_so_many_and_the_next_begins_anew() {
    let full = at(limited(), 59_000);
    let full = full.clone().accepts(&valid(note(ANA), &full)).accepts(&valid(note(ANA).lane(1), &full));
    let third = valid(note(ANA).nonce(1), &full);
    let rejection = full.decide(&third).unwrap_err();
    assert_eq!(rejection, Rejection::AuthorRateLimited { max: 2, next: Timestamp(60_000) });
    assert_eq!(
        rejection.to_string(),
        "the author's 2 transitions of this window of block time are used; the next begins at 60000"
    );
    let account = full.account(ANA).unwrap();
    assert_eq!((account.window_start, account.window_events), (Timestamp(50_000), 2));
    // Others have a window of their own, and a signature for others is none of one's transitions.
    let full = full.clone().accepts(&valid(pact(BO, &[ANA]), &full));
    let last = at(full, 59_999);
    let refused = last.clone().refuses(&valid(note(ANA).nonce(1), &last), "author_rate_limited");
    let next = at(refused, 60_000);
    let next = next.clone().accepts(&valid(note(ANA).nonce(1), &next));
    let account = next.account(ANA).unwrap();
    assert_eq!((account.window_start, account.window_events), (Timestamp(60_000), 1));
}

#[test]
fn every_sort_of_transition_counts() {
    limited()
        .accepts(&register(CY))
        .accepts(&note(CY).nonce(1))
        .refuses(&note(CY).nonce(2), "author_rate_limited")
        .accepts(&note(ANA))
        .accepts(&note(ANA).nonce(1))
        .refuses(&rotate(ANA, 100).nonce(2), "author_rate_limited");
}

#[test]
fn a_nonce_that_was_used_is_the_plainer_answer() {
    limited()
        .accepts(&note(ANA))
        .accepts(&note(ANA).nonce(1))
        .refuses(&note(ANA).nonce(1), "nonce_used")
        .refuses(&note(ANA).nonce(3), "nonce_ahead")
        .refuses(&note(ANA).nonce(2).cosigned(CY), "author_rate_limited");
}

#[test]
fn without_a_bound_nothing_is_counted() {
    let given = given(&[ANA]).accepts(&note(ANA)).accepts(&note(ANA).nonce(1)).accepts(&note(ANA).nonce(2));
    let account = given.account(ANA).unwrap();
    assert_eq!((account.window_start, account.window_events), (Timestamp(0), 0));
}

#[test]
fn the_last_window_of_time_has_no_end() {
    let end = at(limited(), u64::MAX);
    let until = |submission: Submission| submission.bent(|it| it.body.valid_until = Timestamp(u64::MAX));
    let full = end.accepts(&until(note(ANA))).accepts(&until(note(ANA).nonce(1)));
    let rejection = full.decide(&until(note(ANA).nonce(2))).unwrap_err();
    assert_eq!(rejection, Rejection::AuthorRateLimited { max: 2, next: Timestamp(u64::MAX) });
}
