//! Who may do what, as a decision would leave it.
//!
//! # Invariants
//! A change that would leave the chain without a producer that may seal, or its validators without more than two thirds
//! of the weight among as many of those that may sign as one envelope has signatures, is refused: nobody could take it
//! back. Counters tell, not a look at every account.

use std::collections::BTreeMap;

use chaoschain_schemas::control::{Account, ChainState, RoleGrant, Validator, Validators, is_quorum};
use chaoschain_schemas::limits::VALIDATORS_MAX;
use chaoschain_schemas::{AccountId, Height};

use super::{keys, may_produce};
use crate::rejection::Rejection;
use crate::view::{Changes, Fault, View};

/// Roles, weights and counters over a view, with changes that are not written yet.
pub(super) struct Standing<'v> {
    view: &'v dyn View,
    pub(super) chain: ChainState,
    validators: Validators,
    accounts: BTreeMap<AccountId, Account>,
}

/// What changed, out of reach of the view it was read through.
pub(super) struct Changed {
    pub(super) chain: ChainState,
    validators: Validators,
    accounts: BTreeMap<AccountId, Account>,
}

impl<'v> Standing<'v> {
    pub(super) fn of(view: &'v dyn View) -> Self {
        let chain = view.record(&keys::chain());
        if chain.is_none() {
            view.note(Fault::Corrupt(Box::new(keys::chain()), "there is no such record".into()));
        }
        let validators = view.record(&keys::validators()).unwrap_or_default();
        Self { view, chain: chain.unwrap_or_default(), validators, accounts: BTreeMap::new() }
    }

    fn account(&self, id: &AccountId) -> Result<Account, Rejection> {
        let changed = self.accounts.get(id).cloned();
        let account = changed.or_else(|| self.view.record(&keys::account(id)));
        account.ok_or(Rejection::AccountUnknown(*id))
    }

    /// Gives an account its role, weight and sponsorships.
    pub(super) fn grant(&mut self, grant: &RoleGrant) -> Result<(), Rejection> {
        let mut account = self.account(&grant.account)?;
        account.role = grant.role;
        account.sponsorships = grant.sponsorships;
        self.replace(&grant.account, account, grant.weight)
    }

    /// Suspends an account, or lets it act again.
    pub(super) fn suspend(&mut self, id: &AccountId, suspended: bool) -> Result<(), Rejection> {
        let mut account = self.account(id)?;
        account.suspended = suspended;
        let weight = self.validators.weight_of(id).unwrap_or(0);
        self.replace(id, account, weight)
    }

    /// Puts an account and its weight in place of what it was, if the chain can live with it.
    fn replace(&mut self, id: &AccountId, account: Account, weight: u64) -> Result<(), Rejection> {
        let old = self.account(id)?;
        let members = &self.validators.members;
        let mut validators =
            Validators { members: Vec::with_capacity(members.len() + 1), since: self.validators.since };
        validators.members.extend(members.iter().filter(|member| member.account != *id).cloned());
        if weight > 0 {
            let place = validators.members.partition_point(|member| member.account < *id);
            validators.members.insert(place, Validator { account: *id, weight });
        }
        if validators.members.len() > VALIDATORS_MAX {
            return Err(Rejection::ValidatorsFull);
        }
        let weights = validators.members.iter().map(|member| member.weight);
        let total = weights.into_iter().try_fold(0, u64::checked_add).ok_or(Rejection::WeightTooLarge)?;
        let suspended_weight = |account: &Account, weight: u64| if account.suspended { weight } else { 0 };
        let old_weight = self.validators.weight_of(id).unwrap_or(0);
        let weight_suspended = self
            .chain
            .weight_suspended
            .saturating_sub(suspended_weight(&old, old_weight))
            .saturating_add(suspended_weight(&account, weight));
        let producers = self
            .chain
            .producers
            .saturating_sub(u32::from(may_produce(&old)))
            .saturating_add(u32::from(may_produce(&account)));
        if producers == 0 {
            return Err(Rejection::LastProducer(*id));
        }
        let left = total.saturating_sub(weight_suspended);
        if !is_quorum(left, total) {
            return Err(Rejection::LastValidator { account: *id, left, total });
        }
        // All of the suspended weight may be among the heaviest: which it is, only a look at their accounts would tell.
        let signable = validators.signable().saturating_sub(weight_suspended);
        if !is_quorum(signable, total) {
            return Err(Rejection::QuorumUnsignable { account: *id, signable, total });
        }
        self.chain.producers = producers;
        self.chain.weight_suspended = weight_suspended;
        self.validators = validators;
        self.accounts.insert(*id, account);
        Ok(())
    }

    /// What has changed with the block at `height`: another set of validators counts from the next one on.
    pub(super) fn into_changed(self, height: Height) -> Changed {
        let Self { view, chain, mut validators, accounts } = self;
        let old: Validators = view.record(&keys::validators()).unwrap_or_default();
        if validators.members != old.members {
            validators.since = height.next();
        }
        Changed { chain, validators, accounts }
    }
}

impl Changed {
    pub(super) fn write(self, changes: &mut Changes<'_>) {
        for (id, account) in &self.accounts {
            changes.put(&keys::account(id), account);
        }
        changes.put(&keys::validators(), &self.validators);
        changes.put(&keys::chain(), &self.chain);
    }
}
