//! A read model: what escrows amount to, kept up to date block by block.

use std::collections::BTreeMap;

use chaoschain_schemas::{Height, codec};
use chaoschain_state::domain::{ReadError, ReadModel};
use chaoschain_state::{Change, DOMAIN_FIRST, Key, Value};
use serde_json::{Value as Json, json};

use crate::{Escrow, EscrowState};

/// How many escrows there are in each state, and of how much together.
#[derive(Debug, Default)]
pub struct Totals(BTreeMap<EscrowState, (u64, u128)>);

impl ReadModel for Totals {
    fn name(&self) -> &'static str {
        "totals"
    }

    fn apply(&mut self, _height: Height, changes: &[Change]) {
        let escrow =
            |value: &Option<Value>| value.as_ref().and_then(|v| codec::decode_trusted::<Escrow>(v).ok());
        let is_escrow = |key: &Key| key.sub_tree() == DOMAIN_FIRST && key.as_bytes().starts_with(&[0x02]);
        for change in changes.iter().filter(|change| is_escrow(&change.key)) {
            if let Some(Escrow { state, amount, .. }) = escrow(&change.before) {
                let total = self.0.entry(state).or_default();
                *total = (total.0 - 1, total.1 - u128::from(amount));
            }
            if let Some(Escrow { state, amount, .. }) = escrow(&change.after) {
                let total = self.0.entry(state).or_default();
                *total = (total.0 + 1, total.1 + u128::from(amount));
            }
        }
    }

    fn query(&self, _arguments: &[String]) -> Result<Json, ReadError> {
        let rows = EscrowState::ALL.iter().map(|state| {
            let (count, amount) = self.0.get(state).copied().unwrap_or_default();
            json!({ "state": state, "count": count, "amount": amount.to_string() })
        });
        Ok(rows.collect())
    }
}
