//! The state that a chain starts with.

use chaoschain_schemas::control::{Account, ChainState, Genesis, Validator, Validators};
use chaoschain_schemas::{AccountId, Timestamp};

use super::{keys, may_produce};
use crate::view::Changes;

/// Writes the state that a genesis document describes.
pub fn apply_genesis(genesis: &Genesis, changes: &mut Changes<'_>) {
    let mut validators = Validators::default();
    let mut producers = 0;
    for member in &genesis.accounts {
        let id = AccountId::from_first_key(&member.key);
        let now = genesis.timestamp;
        let account = Account {
            key: member.key,
            role: member.role,
            suspended: false,
            registered_at: now,
            last_activity: now,
            nonces: Default::default(),
            sponsorships: member.sponsorships,
            window_start: Timestamp(0),
            window_events: 0,
        };
        producers += u32::from(may_produce(&account));
        changes.put(&keys::account(&id), &account);
        if member.weight > 0 {
            validators.members.push(Validator { account: id, weight: member.weight });
        }
    }
    validators.members.sort_by_key(|validator| validator.account);
    changes.put(&keys::validators(), &validators);
    changes.put(&keys::parameters(), &genesis.parameters);
    changes.set(&keys::domain_parameters(), Some(genesis.domain_parameters.as_ref().into()));
    let chain = ChainState { epoch: 0, rules: genesis.rules, producers, weight_suspended: 0 };
    changes.put(&keys::chain(), &chain);
}
