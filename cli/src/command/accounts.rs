//! The accounts a chain starts with: who may seal blocks, and whose word makes them final.

use std::collections::BTreeMap;

use chaoschain_schemas::control::{GenesisAccount, Role};
use chaoschain_schemas::{AccountId, PublicKey};

use crate::error::{CliError, Outcome};

/// The most accounts that may be named.
const ACCOUNTS_MAX: usize = 256;
/// What stands for the key of the producer that seals block 0.
const SELF: &str = "self";

/// Flags that name them.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct AccountArgs {
    /// The public key of a further producer, as `key show` prints it; may be repeated
    #[arg(long, value_name = "KEYHEX")]
    producer_key: Vec<String>,
    /// The public key of a validator and its weight [default weight: 1]; `self` is this directory's producer; may be
    /// repeated. Without any, this directory's producer is the only one
    #[arg(long, value_name = "KEYHEX|self[=WEIGHT]")]
    validator: Vec<String>,
}

/// Accounts besides the producer that seals block 0, and its own weight.
pub(super) struct Others {
    accounts: BTreeMap<PublicKey, (Role, u64)>,
    own_weight: u64,
}

impl AccountArgs {
    pub(super) fn read(&self) -> Outcome<Others> {
        if self.producer_key.len() + self.validator.len() > ACCOUNTS_MAX {
            let message = format!("more than {ACCOUNTS_MAX} accounts are named");
            return Err(CliError::usage("accounts_too_many", message)
                .hint("whoever neither seals nor attests registers later, by a transition"));
        }
        let mut others =
            Others { accounts: BTreeMap::new(), own_weight: u64::from(self.validator.is_empty()) };
        for text in &self.producer_key {
            if others.accounts.insert(key(text)?, (Role::Producer, 0)).is_some() {
                return Err(twice(text));
            }
        }
        for text in &self.validator {
            let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
            let weight: u64 = weight.parse().ok().filter(|weight| *weight > 0).ok_or_else(|| {
                CliError::usage("validator_malformed", format!("{weight:?} is no weight of a validator"))
                    .hint("a whole number from 1; say --validator KEYHEX=WEIGHT")
            })?;
            let own = if name == SELF {
                &mut others.own_weight
            } else {
                &mut others.accounts.entry(key(name)?).or_insert((Role::Validator, 0)).1
            };
            if std::mem::replace(own, weight) != 0 {
                return Err(twice(name));
            }
        }
        Ok(others)
    }
}

impl Others {
    /// Whether `key` would be the first producer, who seals block 0: accounts stand in the order of their keys.
    pub(super) fn come_after(&self, key: &PublicKey) -> bool {
        self.accounts.iter().all(|(other, (role, _))| *role != Role::Producer || other > key)
    }

    /// All accounts, in order.
    ///
    /// # Errors
    /// That `producer` is among the others, or does not come first.
    pub(super) fn with(self, producer: &PublicKey) -> Outcome<Vec<GenesisAccount>> {
        if self.accounts.contains_key(producer) {
            return Err(
                twice(&producer.to_string()).hint("the directory's own producer is not named; say `self`")
            );
        }
        if !self.come_after(producer) {
            let first = self.accounts.iter().find(|(_, (role, _))| *role == Role::Producer);
            let first = first.map(|(key, _)| key.to_string()).unwrap_or_default();
            let message = format!(
                "block 0 is sealed by the producer whose key is lowest, and {first} is lower than {producer}"
            );
            return Err(CliError::usage("producer_not_first", message)
                .hint("give the key file of that one with --key, and this one with --producer-key"));
        }
        let mut accounts = self.accounts;
        accounts.insert(*producer, (Role::Producer, self.own_weight));
        let accounts = accounts.into_iter();
        Ok(accounts
            .map(|(key, (role, weight))| GenesisAccount { key, role, weight, sponsorships: 0 })
            .collect())
    }
}

fn key(text: &str) -> Outcome<PublicKey> {
    text.parse().map_err(|_| {
        CliError::usage("public_key_malformed", format!("{text:?} is no public key"))
            .hint("64 hex digits, the public_key that `key show FILE` prints")
    })
}

fn twice(text: &str) -> CliError {
    CliError::usage("account_repeated", format!("the account of {text} is named twice"))
}

/// Whose account a fresh key opens.
pub(super) fn account_of(key: &PublicKey) -> AccountId {
    AccountId::from_first_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const HIGH: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    const OWN: &str = "7777777777777777777777777777777777777777777777777777777777777777";

    fn accounts(producers: &[&str], validators: &[&str]) -> Outcome<Vec<(String, Role, u64)>> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let args = AccountArgs { producer_key: owned(producers), validator: owned(validators) };
        let accounts = args.read()?.with(&OWN.parse().unwrap())?;
        Ok(accounts
            .into_iter()
            .map(|account| (account.key.to_string(), account.role, account.weight))
            .collect())
    }

    #[test]
    fn alone_the_producer_is_the_validator() {
        assert_eq!(accounts(&[], &[]).unwrap(), [(OWN.into(), Role::Producer, 1)]);
        assert_eq!(accounts(&[HIGH], &[]).unwrap()[1], (HIGH.into(), Role::Producer, 0));
    }

    #[test]
    fn named_validators_take_its_place() {
        let named = accounts(&[], &[LOW, &format!("{HIGH}=3")]).unwrap();
        let expected = [
            (LOW.into(), Role::Validator, 1),
            (OWN.into(), Role::Producer, 0),
            (HIGH.into(), Role::Validator, 3),
        ];
        assert_eq!(named, expected);
        let both = accounts(&[HIGH], &["self=2", HIGH]).unwrap();
        assert_eq!(both, [(OWN.into(), Role::Producer, 2), (HIGH.into(), Role::Producer, 1)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (producers, validators, code) in [
            (&["xyz"][..], &[][..], "public_key_malformed"),
            (&[HIGH, HIGH], &[], "account_repeated"),
            (&[OWN], &[], "account_repeated"),
            (&[LOW], &[], "producer_not_first"),
            (&[], &["self", "self"], "account_repeated"),
            (&[], &["self=0"], "validator_malformed"),
            (&[], &["self=-1"], "validator_malformed"),
        ] {
            assert_eq!(
                accounts(producers, validators).unwrap_err().code,
                code,
                "{producers:?} {validators:?}"
            );
        }
    }
}
