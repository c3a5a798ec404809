//! What validators decide changes who may seal, who may act and by what rules: a verifier sees it as a node does.

use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::control::{
    ParameterChange, Parameters, Registration, Role, RoleGrant, Suspension, kind,
};
use chaoschain_schemas::{AccountId, Height, codec};
use serde::Serialize;

use crate::chain::*;
use crate::differential::acts;
use crate::parlour::*;

/// More than a window of an author's transitions, seconds.
const NEXT_WINDOW: u64 = 61;

/// A chain and its two validators, who decide together.
struct Council {
    chain: Chain,
    one: Author,
    two: Author,
}

impl Council {
    /// Of a build that knows the rules up to `KNOWN`; the chain starts under version 1.
    fn new<const KNOWN: u16>() -> Self {
        let chain = Chain::under(Arc::new(ParlourOf::<KNOWN>), 1);
        let of = |number| Author::new(number, chain.id);
        Self { one: of(PRODUCER), two: of(OTHER_PRODUCER), chain }
    }

    fn next(&self) -> Height {
        self.chain.head().height().next()
    }

    fn decides<P: Serialize>(&mut self, kind: u16, payload: &P) -> VerifiedEnvelope {
        self.one.does(kind, codec::encode(payload), &[(self.two.id, &*self.two.key)])
    }

    fn grants(&mut self, account: AccountId, role: Role, weight: u64, sponsorships: u32) -> VerifiedEnvelope {
        let at = self.next().next();
        self.decides(kind::ROLE_GRANT, &RoleGrant { account, role, weight, sponsorships, at })
    }

    fn suspends(&mut self, account: AccountId, suspended: bool) -> VerifiedEnvelope {
        self.decides(kind::SUSPENSION, &Suspension { account, suspended, reason: "decided".into() })
    }

    fn changes(&mut self, kernel: Option<Parameters>, rules: Option<u16>) -> VerifiedEnvelope {
        let at = self.next().next();
        let change = ParameterChange { at, kernel, domain: None, rules, reason: "decided".into() };
        self.decides(kind::PARAMETER_CHANGE, &change)
    }

    /// A block of all these events, which node and verifier take.
    #[track_caller]
    fn takes(&mut self, what: &str, events: &[VerifiedEnvelope]) {
        let block = self.chain.propose(NEXT_WINDOW, events);
        assert_eq!(block.events().len(), events.len(), "{what}");
        assert_eq!(self.chain.compare(what, &block), Ok(()), "{what}");
    }

    /// A block that has `event` all the same, which neither takes.
    #[track_caller]
    fn refuses(&mut self, what: &str, event: VerifiedEnvelope) {
        let block = self.chain.propose(NEXT_WINDOW, &[]);
        let crafted = Chain::with_events(&block, vec![event], PRODUCER, |_| {});
        assert_eq!(self.chain.compare(what, &crafted), Err("event_rejected"), "{what}");
    }
}

#[test]
fn registration_that_needs_a_sponsor() {
    let mut council = Council::new::<1>();
    let [mut ana, mut bob, mut cy] = [9, 10, 11].map(|number| Author::new(number, council.chain.id));
    council.takes("open", &[ana.register()]);
    let sponsored = Parameters { registration: Registration::Sponsored, ..Parameters::default() };
    let decisions = [council.grants(ana.id, Role::Member, 0, 1), council.changes(Some(sponsored), None)];
    council.takes("decided", &decisions);
    council.takes("in force", &[]);
    council.refuses("nobody sponsors", bob.register());
    bob.nonce = 0;
    let sponsor = [(ana.id, &*ana.key)];
    let registered = bob.does(kind::ACCOUNT_REGISTRATION, vec![0x90], &sponsor);
    council.takes("sponsored", &[registered]);
    council.refuses("none left", cy.does(kind::ACCOUNT_REGISTRATION, vec![0x90], &sponsor));
}

#[test]
fn who_is_suspended_and_who_is_too_busy() {
    let mut council = Council::new::<1>();
    let mut ana = Author::new(9, council.chain.id);
    let taken = acts_after(&mut ana, 3);
    council.takes("free", &taken);
    let suspension = council.suspends(ana.id, true);
    council.takes("suspended", &[suspension]);
    let deed = acts(&mut ana, &Deed::Take(5, 1));
    council.refuses("suspended", deed.clone());
    let pardon = council.suspends(ana.id, false);
    let bounded = Parameters { author_events_max: 2, ..Parameters::default() };
    let change = council.changes(Some(bounded), None);
    council.takes("again", &[pardon, deed, change]);
    let [first, second, third] = [1, 2, 3].map(|seat| acts(&mut ana, &Deed::Take(seat, 7)));
    let block = council.chain.propose(NEXT_WINDOW, &[first.clone(), second.clone()]);
    let events = vec![first.clone(), second.clone(), third.clone()];
    let crowded = Chain::with_events(&block, events, PRODUCER, |_| {});
    assert_eq!(council.chain.compare("three in a window", &crowded), Err("event_rejected"));
    council.takes("two in a window", &[first, second]);
    council.takes("the next window", &[third]);
}

/// A registration, and so many seats taken.
fn acts_after(author: &mut Author, seats: u8) -> Vec<VerifiedEnvelope> {
    let registered = author.register();
    let taken = (0..seats).map(|seat| acts(author, &Deed::Take(seat, 1)));
    std::iter::once(registered).chain(taken).collect()
}

/// A role that ends with a block is judged by the state before it: it seals that block, and none after.
#[test]
fn a_producer_that_was_just_demoted() {
    let mut council = Council::new::<1>();
    let two = council.two.id;
    let demotion = council.grants(two, Role::Member, 1, 0);
    council.takes("decided", &[demotion]);
    let by_two =
        |block: &VerifiedBlock| Chain::altered(block, OTHER_PRODUCER, |header| header.producer = two);
    let last = by_two(&council.chain.propose(1, &[]));
    assert_eq!(council.chain.compare("its last", &last), Ok(()));
    let late = by_two(&council.chain.propose(1, &[]));
    assert_eq!(council.chain.compare("one too late", &late), Err("producer_unauthorised"));
    council.takes("another goes on", &[]);
}

#[test]
fn rules_that_come_into_force() {
    let mut council = Council::new::<2>();
    let change = council.changes(None, Some(2));
    council.takes("decided", &[change]);
    let block = council.chain.propose(1, &[]);
    assert_eq!(block.header().rules, 2);
    let old = Chain::altered(&block, PRODUCER, |header| header.rules = 1);
    assert_eq!(council.chain.compare("the rules of before", &old), Err("rules_wrong"));
    assert_eq!(council.chain.compare("those in force", &block), Ok(()));
}

/// Neither a node nor a verifier of before the rules judges a block under them.
#[test]
fn rules_that_are_not_known() {
    let mut council = Council::new::<1>();
    let before = council.chain.propose(1, &[]);
    let change = council.changes(None, Some(2));
    council.takes("decided", &[change]);
    let head = council.chain.head();
    let next = |rules: u16| {
        Chain::altered(&before, PRODUCER, |header| {
            (header.rules, header.height) = (rules, head.height().next());
            (header.parent, header.timestamp) = (head.hash, head.header.timestamp);
        })
    };
    for rules in [1, 2] {
        assert_eq!(council.chain.compare("unknown", &next(rules)), Err("rules_unknown"));
    }
}
