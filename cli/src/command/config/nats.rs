//! `config nats`: what a NATS server has to be told so that each role may do what it must, and nothing else.
//!
//! # Invariants
//! - Only producers publish blocks, and a validator only its own attestations.
//! - Every user has an inbox prefix of its own, so nobody reads another's answers.
//! - Nothing here replaces verification: what may be published is still judged by the fold.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use chaoschain_events::nats::Subjects;
use chaoschain_schemas::{AccountId, ChainId};
use serde_json::json;

use crate::args::Run;
use crate::config::Flags;
use crate::datadir::DataDir;
use crate::error::{CliError, Outcome};

/// The most users that may be named.
const USERS_MAX: usize = 256;
/// The longest name of a user.
const NAME_BYTES_MAX: usize = 64;

/// Print a NATS server's accounts and permissions for a chain: who may publish blocks, attest, read, submit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain config nats --dir demo > chaoschain.conf
  chaoschain config nats --chain 9f2c… --role-user producer,reader=one --role-user client=bots
  chaoschain config nats --chain 9f2c… --role-user validator=val-1:51c0… --nkey val-1=UABC…

Roles: producer (a node with the role command), validator, reader (a node with the role query), client (submits and asks),
operator (init, log restore). Without --role-user there is one user of each, named like its role. Put the printed text into
the server's configuration with `include ./chaoschain.conf`. Passwords are taken from the server's environment; the server
does not start without them. Each user sets its inbox prefix with --nats-inbox-prefix or CHAOSCHAIN_NATS_INBOX_PREFIX.")]
pub(super) struct Args {
    /// The chain's id
    #[arg(long, value_name = "ID", required_unless_present = "dir", conflicts_with = "dir")]
    chain: Option<ChainId>,
    /// The data directory of the chain
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A user and what it is, several roles with commas; a validator's account confines it to that; may be repeated
    #[arg(long, value_name = "ROLE[,ROLE]=NAME[:ACCOUNT]")]
    role_user: Vec<String>,
    /// The public nkey by which a user is known instead of a password; may be repeated
    #[arg(long, value_name = "NAME=NKEY")]
    nkey: Vec<String>,
}

/// What a user of the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Producer,
    Validator,
    Reader,
    Client,
    Operator,
}

const KINDS: [(&str, Kind); 5] = [
    ("producer", Kind::Producer),
    ("validator", Kind::Validator),
    ("reader", Kind::Reader),
    ("client", Kind::Client),
    ("operator", Kind::Operator),
];

/// A user of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    kinds: BTreeSet<Kind>,
    account: Option<AccountId>,
    nkey: Option<String>,
}

pub(super) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let chain = match (&args.chain, &args.dir) {
        (Some(chain), _) => *chain,
        (None, dir) => {
            let config = run.configure(Flags { dir: dir.clone(), ..Flags::default() }, "warn")?;
            DataDir::at(config.dir).chain()?.id
        }
    };
    let text = rendered(chain, &users(&args.role_user, &args.nkey)?);
    run.output.print(&json!({ "chain": chain, "config": text }), || text.clone());
    Ok(())
}

fn users(named: &[String], nkeys: &[String]) -> Outcome<Vec<User>> {
    if named.len() > USERS_MAX || nkeys.len() > USERS_MAX {
        return Err(malformed(format!("more than {USERS_MAX} users are named")));
    }
    let mut users = if named.is_empty() {
        KINDS.iter().map(|(name, _)| user(&format!("{name}={name}"))).collect::<Outcome<Vec<User>>>()?
    } else {
        named.iter().map(|text| user(text)).collect::<Outcome<_>>()?
    };
    for text in nkeys {
        let key = |nkey: &str| {
            nkey.len() == 56 && nkey.starts_with('U') && nkey.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let (name, nkey) = text.split_once('=').filter(|(_, nkey)| key(nkey)).ok_or_else(|| {
            malformed(format!("{text:?} is not NAME=NKEY with the public nkey of a user, U…"))
        })?;
        let user = users.iter_mut().find(|user| user.name == name);
        user.ok_or_else(|| malformed(format!("no user is named {name:?}")))?.nkey = Some(nkey.to_owned());
    }
    let distinct: BTreeSet<&str> = users.iter().map(|user| user.name.as_str()).collect();
    if distinct.len() < users.len() {
        return Err(malformed("a user is named twice: give all its roles at once, with commas".to_owned()));
    }
    // Two users of one variable would have one password.
    let with_password: Vec<&User> = users.iter().filter(|user| user.nkey.is_none()).collect();
    let variables: BTreeSet<String> = with_password.iter().map(|user| variable(user)).collect();
    if variables.len() < with_password.len() {
        return Err(malformed(
            "the names of two users differ only in case or in - and _, which the variables of their passwords do not".to_owned(),
        ));
    }
    Ok(users)
}

/// Reads `ROLE[,ROLE]=NAME[:ACCOUNT]`.
fn user(text: &str) -> Outcome<User> {
    let wrong = || malformed(format!("{text:?} is not ROLE[,ROLE]=NAME[:ACCOUNT]"));
    let (kinds, name) = text.split_once('=').ok_or_else(wrong)?;
    let (name, account) = name.split_once(':').map_or((name, None), |(name, account)| (name, Some(account)));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(malformed(format!(
            "the user's name {name:?} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ -"
        )));
    }
    let kind = |text: &str| {
        let known = KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        known.ok_or_else(|| {
            malformed(format!("{text:?} is none of producer, validator, reader, client, operator"))
        })
    };
    let kinds = kinds.split(',').map(kind).collect::<Outcome<BTreeSet<Kind>>>()?;
    let account = account.map(|account| account.parse().map_err(|_| wrong())).transpose()?;
    if account.is_some() && !kinds.contains(&Kind::Validator) {
        return Err(malformed(format!("{text:?}: only a validator has an account here")));
    }
    Ok(User { name: name.to_owned(), kinds, account, nkey: None })
}

fn malformed(message: String) -> CliError {
    CliError::usage("user_malformed", message).hint("see `config nats --help`")
}

/// What a user may do.
#[derive(Default)]
struct Permissions {
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
    answers: bool,
}

impl Permissions {
    fn of(user: &User, chain: ChainId) -> Self {
        let subjects = Subjects::of(chain);
        let mut this = Self::default();
        this.subscribe.insert(format!("{}.>", inbox(user)));
        for kind in &user.kinds {
            match kind {
                Kind::Operator => {
                    this.publish.insert(">".into());
                    this.subscribe.insert(">".into());
                }
                Kind::Client => {
                    this.publish.extend([
                        format!("{}.*", subjects.command()),
                        format!("{}.*", subjects.query()),
                        "$SRV.>".into(),
                    ]);
                }
                Kind::Producer => {
                    this.follow(subjects);
                    this.publish.insert(subjects.block());
                    this.answer(&subjects.command());
                }
                Kind::Validator => {
                    this.follow(subjects);
                    this.publish.insert(
                        user.account
                            .as_ref()
                            .map_or_else(|| subjects.attest_all(), |account| subjects.attest(account)),
                    );
                }
                Kind::Reader => {
                    this.follow(subjects);
                    this.answer(&subjects.query());
                }
            }
        }
        this
    }

    /// What every node needs to follow the log and the attestations, and to look at single messages.
    fn follow(&mut self, subjects: Subjects) {
        self.publish.insert("$JS.API.INFO".into());
        for stream in [subjects.log_stream(), subjects.attest_stream()] {
            self.publish.extend([
                format!("$JS.API.STREAM.INFO.{stream}"),
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                format!("$JS.API.CONSUMER.CREATE.{stream}"),
                format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
                format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
                format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
            ]);
        }
        // For the while in which JetStream has no leader and answers nothing else.
        self.publish.insert(format!("$JS.API.DIRECT.GET.{}", subjects.log_stream()));
    }

    /// What a micro service needs: its requests, being discovered, and the right to answer.
    fn answer(&mut self, prefix: &str) {
        self.subscribe.extend([format!("{prefix}.*"), "$SRV.>".into()]);
        self.answers = true;
    }
}

/// Where the server finds the user's password.
fn variable(user: &User) -> String {
    format!("NATS_PASSWORD_{}", user.name.to_ascii_uppercase().replace('-', "_"))
}

fn inbox(user: &User) -> String {
    format!("_INBOX_{}", user.name)
}

fn rendered(chain: ChainId, users: &[User]) -> String {
    let mut text = format!(
        "# Accounts and permissions for chain {chain}, printed by `chaoschain config nats`.
#
# The server's own configuration needs JetStream on a disk of its own, and every write on it before it is acknowledged:
#   jetstream {{ store_dir: \"/var/lib/nats\", sync_interval: always }}
#   include ./chaoschain.conf
#
# Who may make a consumer could have it deliver to a subject of blocks. What comes of that is no block: the fold checks every
# signature and skips it. It costs room all the same, so give these users to nodes, and `client` to everyone else.

accounts {{
  CHAOSCHAIN {{
    jetstream: enabled
    users: [
"
    );
    for user in users {
        write_user(&mut text, user, chain);
    }
    text.push_str("    ]\n  }\n}\n");
    text
}

fn write_user(text: &mut String, user: &User, chain: ChainId) {
    let Permissions { publish, subscribe, answers } = Permissions::of(user, chain);
    for kind in &user.kinds {
        let _ = writeln!(text, "      # {}", purpose(*kind, user.account.as_ref()));
    }
    let _ = writeln!(text, "      # Its nodes and clients say --nats-inbox-prefix {}", inbox(user));
    text.push_str("      {\n");
    let _ = if let Some(nkey) = &user.nkey {
        writeln!(text, "        nkey: {nkey}")
    } else {
        writeln!(text, "        user: \"{}\", password: ${}", user.name, variable(user))
    };
    text.push_str("        permissions: {\n");
    for (action, subjects) in [("publish", publish), ("subscribe", subscribe)] {
        let _ = writeln!(text, "          {action}: {{ allow: [");
        for subject in subjects {
            let _ = writeln!(text, "            \"{subject}\"");
        }
        text.push_str("          ] }\n");
    }
    if answers {
        // The defaults of the server allow one answer within two minutes.
        text.push_str("          allow_responses: true\n");
    }
    text.push_str("        }\n      }\n");
}

fn purpose(kind: Kind, account: Option<&AccountId>) -> String {
    match (kind, account) {
        (Kind::Producer, _) => "producer: a node that seals blocks and takes transitions in".to_owned(),
        (Kind::Validator, None) => "validator: a node that attests, under any account".to_owned(),
        (Kind::Validator, Some(account)) => format!("validator: a node that attests as account {account}"),
        (Kind::Reader, _) => "reader: a node that follows the log and answers reads".to_owned(),
        (Kind::Client, _) => "client: whoever submits transitions and asks".to_owned(),
        (Kind::Operator, _) => "operator: makes the streams (`init`), restores and compacts".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> ChainId {
        "ab".repeat(32).parse().unwrap()
    }

    fn one(text: &str) -> Permissions {
        Permissions::of(&user(text).unwrap(), chain())
    }

    #[test]
    fn blocks_are_for_producers_and_operators_alone() {
        let block = Subjects::of(chain()).block();
        for (kind, may) in [
            ("producer", true),
            ("operator", true),
            ("validator", false),
            ("reader", false),
            ("client", false),
        ] {
            let permissions = one(&format!("{kind}=u"));
            let can = permissions.publish.contains(&block) || permissions.publish.contains(">");
            assert_eq!(can, may, "{kind}");
        }
    }

    #[test]
    fn a_validator_speaks_for_itself() {
        let account = "cd".repeat(32);
        let permissions = one(&format!("validator=v:{account}"));
        let attest = |subject: &&String| subject.contains(".attest.");
        let subjects: Vec<_> = permissions.publish.iter().filter(attest).collect();
        assert_eq!(subjects, [&Subjects::of(chain()).attest(&account.parse().unwrap())]);
    }

    #[test]
    fn inboxes_are_not_shared() {
        let subscribe = one("client=bots").subscribe;
        assert_eq!(subscribe.iter().collect::<Vec<_>>(), ["_INBOX_bots.>"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["", "client", "client=", "client=a b", "boss=a", "client=a:b", "client,=a", "validator=a:zz"]
        {
            assert_eq!(user(bad).unwrap_err().code, "user_malformed", "{bad:?}");
        }
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(users(&owned(&["client=a", "reader=a"]), &[]).is_err());
        assert!(users(&owned(&["client=a-b", "reader=A_b"]), &[]).is_err(), "they would share a password");
        assert!(users(&[], &owned(&["client=X"])).is_err());
        assert_eq!(users(&[], &[]).unwrap().len(), KINDS.len());
    }
}
