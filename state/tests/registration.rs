//! Registration where identities are not free.
#![allow(clippy::unwrap_used)]

use chaoschain_schemas::Height;
use chaoschain_schemas::control::{Registration, Role, RoleGrant};
use support::{
    ANA, BO, CY, Given, Submission, given, governed, grant_of, id, join, key, note, register, suspend,
};

mod support;

/// A chain on which ana may sponsor two and bo nobody.
fn sponsored() -> Given {
    given(&[ANA, BO])
        .with_parameters(|parameters| parameters.registration = Registration::Sponsored)
        .with_account(ANA, |account| account.sponsorships = 2)
}

fn both() -> [Submission; 2] {
    [register(CY), join(CY)]
}

#[test]
fn a_new_account_needs_one_sponsor() {
    for first in both() {
        let before = sponsored();
        let after = before
            .clone()
            .refuses(&first, "sponsor_missing")
            .refuses(&first.clone().cosigned(BO), "sponsorships_used")
            .refuses(&first.clone().cosigned(ANA).cosigned(BO), "cosignature_unneeded")
            .refuses(&first.clone().cosigned(99), "account_unknown")
            .refuses(&first.clone().cosigned(CY), "account_unknown")
            .refuses(&first.clone().cosigned_as(id(ANA), key(BO)), "key_wrong")
            .accepts(&first.clone().cosigned(ANA));
        let (old, new) = (before.account(ANA).unwrap(), after.account(ANA).unwrap());
        assert_eq!(new.sponsorships, 1);
        assert_eq!((new.nonces, new.last_activity), (old.nonces, old.last_activity));
        assert_eq!(after.account(CY).unwrap().sponsorships, 0);
        after.accepts(&note(CY).nonce(1));
    }
}

#[test]
fn a_suspended_account_sponsors_nobody() {
    for first in both() {
        sponsored().suspended(ANA).refuses(&first.cosigned(ANA), "account_suspended");
    }
}

#[test]
fn sponsorships_are_used_up() {
    sponsored()
        .accepts(&register(CY).cosigned(ANA))
        .accepts(&register(4).cosigned(ANA))
        .refuses(&register(5).cosigned(ANA), "sponsorships_used")
        .refuses(&register(5).cosigned(CY), "sponsorships_used");
}

#[test]
fn what_is_refused_uses_no_sponsorship() {
    let after = sponsored()
        .with_account(ANA, |account| account.sponsorships = 9)
        .accepts(&join(4).cosigned(ANA))
        .accepts(&join(5).cosigned(ANA))
        .refuses(&join(CY).cosigned(ANA), "guild_full");
    assert_eq!(after.account(ANA).unwrap().sponsorships, 7);
}

#[test]
fn an_account_that_is_there_needs_none() {
    let after = sponsored()
        .refuses(&join(ANA).cosigned(BO), "cosignature_unneeded")
        .accepts(&join(BO))
        .refuses(&register(ANA), "account_exists");
    assert_eq!(after.account(ANA).unwrap().sponsorships, 2);
}

#[test]
fn where_registration_is_open_a_sponsor_is_not_needed() {
    for first in both() {
        let open = sponsored().with_parameters(|parameters| parameters.registration = Registration::Open);
        open.refuses(&first.clone().cosigned(ANA), "cosignature_unneeded").accepts(&first);
    }
}

#[test]
fn a_grant_gives_sponsorships() {
    let grant = RoleGrant { account: id(BO), role: Role::Member, weight: 0, sponsorships: 1, at: Height(5) };
    governed(&[(ANA, 1)])
        .with_member(BO)
        .with_parameters(|parameters| parameters.registration = Registration::Sponsored)
        .refuses(&register(CY).cosigned(BO), "sponsorships_used")
        .accepts(&grant_of(&[ANA], &grant))
        .at_height(5)
        .accepts(&suspend(&[ANA], BO, false).nonce(1))
        .accepts(&register(CY).cosigned(BO))
        .refuses(&register(4).cosigned(BO), "sponsorships_used");
}
