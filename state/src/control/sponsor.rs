//! Registration where identities are not free: an account with sponsorships left signs for the new one.

use chaoschain_schemas::control::{Account, Registration, kind};
use chaoschain_schemas::{AccountId, Body};

use super::keys;
use crate::domain::{BlockContext, Machine};
use crate::rejection::Rejection;
use crate::view::View;

/// Who signs for a new account, with one sponsorship less.
pub(super) struct Sponsor {
    pub(super) id: AccountId,
    pub(super) account: Account,
}

/// Takes the sponsor of a new account out of the `cosigners`, whose accounts are checked: the one that the kind itself
/// does not need. `None` where anyone may register.
pub(super) fn take(
    machine: &dyn Machine,
    block: &BlockContext,
    view: &dyn View,
    body: &Body,
    cosigners: &mut Vec<AccountId>,
) -> Result<Option<Sponsor>, Rejection> {
    if block.parameters.registration == Registration::Open {
        return Ok(None);
    }
    let needed = match body.kind {
        kind::ACCOUNT_REGISTRATION => Vec::new(),
        kind => machine
            .parties(kind, &body.payload, &body.author)
            .map_err(|error| Rejection::Payload { kind, error })?,
    };
    let mut further = cosigners.iter().filter(|signer| !needed.contains(signer));
    let id = *further.next().ok_or(Rejection::SponsorMissing)?;
    if let Some(unneeded) = further.next() {
        return Err(Rejection::CosignatureUnneeded(*unneeded));
    }
    let account = view.record::<Account>(&keys::account(&id));
    let mut account = account.ok_or(Rejection::AccountUnknown(id))?;
    account.sponsorships = account.sponsorships.checked_sub(1).ok_or(Rejection::SponsorshipsUsed(id))?;
    cosigners.retain(|signer| *signer != id);
    Ok(Some(Sponsor { id, account }))
}
