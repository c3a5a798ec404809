//! What a node does, and with which keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chaoschain_projector::{Head, Producer};
use chaoschain_schemas::AccountId;
use chaoschain_schemas::control::{Account, Validators};
use chaoschain_state::control::{keys, may_produce};
use chaoschain_state::{BaseView, View};

use crate::datadir::DataDir;
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::{self, Signer};

/// One of the things a node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It takes transitions in and seals blocks.
    Command,
    /// It answers reads.
    Query,
    /// It attests blocks.
    Validator,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Validator => "validator",
        }
    }
}

impl FromStr for Role {
    type Err = CliError;

    fn from_str(text: &str) -> Outcome<Self> {
        [Self::Command, Self::Query, Self::Validator].into_iter().find(|role| role.name() == text).ok_or_else(
            || {
                CliError::usage("role_unknown", format!("there is no role {text:?}"))
                    .hint("command, query or validator; several with commas")
            },
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Roles as they were asked for; none when nobody has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(Vec<Role>);

impl Wanted {
    /// Reads the setting.
    pub(crate) fn of(setting: &str) -> Outcome<Self> {
        if setting.is_empty() {
            return Ok(Self::default());
        }
        let mut roles = setting.split(',').map(|role| role.trim().parse()).collect::<Outcome<Vec<Role>>>()?;
        roles.sort_unstable();
        roles.dedup();
        Ok(Self(roles))
    }

    fn names(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    fn takes(&self, role: Role) -> bool {
        self.0.is_empty() || self.names(role)
    }
}

/// The keys of a node, unlocked.
#[derive(Debug)]
pub(crate) struct Keys {
    wanted: Wanted,
    producer: Option<Signer>,
    validator: Option<Signer>,
}

/// What a node does, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    /// Who seals its blocks, if it takes transitions in.
    pub(crate) command: Option<Producer>,
    /// Whether it answers reads.
    pub(crate) query: bool,
    /// Who attests, if it does.
    pub(crate) validator: Option<Producer>,
}

impl Keys {
    /// Reads the keys that the wanted roles need; a passphrase is asked for once for each.
    ///
    /// # Errors
    /// A key that is asked for and not there, or that cannot be used.
    pub(crate) fn load(dir: &DataDir, wanted: Wanted) -> Outcome<Self> {
        let (producer_file, validator_file) = (dir.producer_key(), dir.validator_key());
        let own = validator_file.exists();
        let needed = |role: Role| {
            let (name, file) =
                (role.name(), if role == Role::Command { &producer_file } else { &validator_file });
            let message = format!("the role {name} needs a key, and there is none at {}", file.display());
            CliError::usage("role_key_missing", message)
                .hint("put the key file there, or say with --role what the node is to do")
        };
        let validates = wanted.takes(Role::Validator);
        let seals = wanted.takes(Role::Command) || (validates && !own);
        let producer =
            (seals && producer_file.exists()).then(|| keyfile::load(&producer_file)).transpose()?;
        let validator = (validates && own).then(|| keyfile::load(&validator_file)).transpose()?;
        if wanted.names(Role::Command) && producer.is_none() {
            return Err(needed(Role::Command));
        }
        if wanted.names(Role::Validator) && validator.is_none() && producer.is_none() {
            return Err(needed(Role::Validator));
        }
        Ok(Self { wanted, producer, validator })
    }

    /// What the node does with them on this state.
    ///
    /// # Errors
    /// That it is to attest with the producer's key, whose account has no weight.
    pub(crate) fn roles(self, head: &Head) -> Outcome<Roles> {
        let as_producer =
            |signer: &Signer| Producer { account: signer.account, key: Arc::new(signer.key.clone()) };
        let Self { wanted, producer, validator } = self;
        let producer = producer.as_ref().map(as_producer);
        let seals = producer.as_ref().filter(|_| wanted.takes(Role::Command));
        if let Some(Producer { account, .. }) = seals.filter(|producer| !may_seal(head, &producer.account)) {
            tracing::warn!(
                "account {account} may seal no blocks at height {}: what is submitted here is refused",
                head.height()
            );
        }
        let has_weight = |account: &AccountId| weight(head, account) > 0;
        let validator = match validator {
            Some(signer) => {
                if !has_weight(&signer.account) {
                    tracing::warn!(
                        "account {} is no validator at height {}: its word counts for nothing",
                        signer.account,
                        head.height()
                    );
                }
                Some(as_producer(&signer))
            }
            None if wanted.takes(Role::Validator) => {
                producer.clone().filter(|producer| has_weight(&producer.account))
            }
            None => None,
        };
        if wanted.names(Role::Validator) && validator.is_none() {
            let account = producer.map(|producer| producer.account.to_string()).unwrap_or_default();
            let message =
                format!("the role validator needs a key, and the producer's account {account} has no weight");
            return Err(CliError::new(Exit::Refused, "role_key_missing", message)
                .hint("put the validator's key at keys/validator.key"));
        }
        Ok(Roles {
            command: producer.filter(|_| wanted.takes(Role::Command)),
            query: wanted.takes(Role::Query),
            validator,
        })
    }
}

impl Roles {
    /// The names of what it does.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let here = [
            (Role::Command, self.command.is_some()),
            (Role::Query, self.query),
            (Role::Validator, self.validator.is_some()),
        ];
        here.iter().filter(|(_, here)| *here).map(|(role, _)| role.name()).collect()
    }
}

fn may_seal(head: &Head, account: &AccountId) -> bool {
    let view = BaseView::new(&*head.state);
    let account: Option<Account> = (&view as &dyn View).record(&keys::account(account));
    account.is_some_and(|account| may_produce(&account))
}

/// The account's weight as a validator.
fn weight(head: &Head, account: &AccountId) -> u64 {
    let view = BaseView::new(&*head.state);
    let validators: Option<Validators> = (&view as &dyn View).record(&keys::validators());
    let members = validators.map(|set| set.members).unwrap_or_default();
    members.iter().find(|member| member.account == *account).map_or(0, |member| member.weight)
}

#[cfg(test)]
mod tests {
    use chaoschain_events::signature::SecretKey;

    use super::*;
    use crate::keyfile::KeyFile;

    fn dir_with(keys: &[&str]) -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::at(temporary.path());
        std::fs::create_dir(temporary.path().join("keys")).unwrap();
        for name in keys {
            let key = SecretKey::from_seed(&[7; 32]);
            let file = KeyFile::new(AccountId::from_first_key(&key.public()), &key, None).unwrap();
            file.write_new(&temporary.path().join("keys").join(name)).unwrap();
        }
        (temporary, dir)
    }

    #[test]
    fn settings_name_roles() {
        assert_eq!(Wanted::of("query, command,query").unwrap().0, [Role::Command, Role::Query]);
        assert_eq!(Wanted::of("").unwrap(), Wanted::default());
        for bad in [",", "queri", "query,"] {
            assert_eq!(Wanted::of(bad).unwrap_err().code, "role_unknown", "{bad}");
        }
    }

    #[test]
    fn keys_are_there_for_what_is_asked_for() {
        for (files, role, found) in [
            (&[][..], "", Ok((false, false))),
            (&[], "query", Ok((false, false))),
            (&[], "command", Err("role_key_missing")),
            (&[], "validator", Err("role_key_missing")),
            (&["producer.key"], "", Ok((true, false))),
            (&["producer.key"], "query", Ok((false, false))),
            (&["producer.key"], "validator", Ok((true, false))),
            (&["validator.key"], "", Ok((false, true))),
            (&["validator.key"], "command", Err("role_key_missing")),
            (&["producer.key", "validator.key"], "validator", Ok((false, true))),
            (&["producer.key", "validator.key"], "", Ok((true, true))),
        ] {
            let (_temporary, dir) = dir_with(files);
            let keys = Keys::load(&dir, Wanted::of(role).unwrap());
            let keys = keys.map(|keys| (keys.producer.is_some(), keys.validator.is_some()));
            assert_eq!(
                keys.map_err(|error| error.code.into_owned()),
                found.map_err(str::to_owned),
                "{files:?} {role}"
            );
        }
    }
}
