//! A domain of one's own: escrow, in a page.
//!
//! Genesis grants balances. A payer opens an escrow towards a payee; the payer releases it, or the payee refunds it. Once its
//! time is over it goes back to the payer by itself. Accounts and keys are the kernel's own (`AccountRegistration`).
//!
//! # Format
//! | key in sub-tree 2 | record |
//! |---|---|
//! | `01` ‖ account (32) | [`Balance`]; while there is none, what genesis granted |
//! | `02` ‖ opening transition (32) | [`Escrow`] |
//! | `03` ‖ block time (8) ‖ opening transition (32) | [`Settle`]: this escrow is held until then |
//!
//! # Invariants
//! - Balances and held escrows always sum up to what genesis granted.

mod totals;

pub use totals::Totals;

use chaoschain_schemas::{
    AccountId, CodecError, Micros, Timestamp, TransitionId, code_enum, codec, limits::PAYLOAD_BYTES_MAX,
};
use chaoschain_state::control::keys::{account as account_key, domain_parameters};
use chaoschain_state::domain::{BlockContext, Domain, EventContext, KindSpec, ReadError, ReadSpec};
use chaoschain_state::{Changes, DOMAIN_FIRST, Key, Rejection, Value, View};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};

/// What genesis grants.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Opening balances, at most one an account.
    pub grants: Vec<Grant>,
}

/// An account's opening balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The account.
    pub account: AccountId,
    /// Its balance before it ever paid or was paid.
    pub amount: u64,
}

/// What an account has at its free disposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// How much.
    pub amount: u64,
}

code_enum! {
    /// Where an escrow's amount is.
    EscrowState {
        /// With nobody yet.
        Held = 0,
        /// With the payee.
        Released = 1,
        /// Back with the payer.
        Refunded = 2,
    }
}

/// An amount that is set aside; its id is that of the transition that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escrow {
    /// Whose it was.
    pub payer: AccountId,
    /// Whose it is to be.
    pub payee: AccountId,
    /// How much.
    pub amount: u64,
    /// The block time at which it goes back to the payer.
    pub expires_at: Timestamp,
    /// Where it is.
    pub state: EscrowState,
}

/// Sets an amount of the author's aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Whose it is to be; another account than the author.
    pub payee: AccountId,
    /// How much, more than 0.
    pub amount: u64,
    /// After how long it goes back to the author.
    pub duration: Micros,
}

/// Names an escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// The escrow.
    pub escrow: TransitionId,
}

/// What may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Sets an amount aside.
    Open(Open),
    /// The payer gives it to the payee.
    Release(Settle),
    /// It goes back to the payer, by the payee's will, or by the payer's once its time is over.
    Refund(Settle),
}

/// The kind of [`Transition::Open`].
pub const OPEN: u16 = 256;
/// The kind of [`Transition::Release`].
pub const RELEASE: u16 = 257;
/// The kind of [`Transition::Refund`].
pub const REFUND: u16 = 258;

/// How many escrows go back by themselves at the start of one block, at most; the rest waits for the next.
pub const EXPIRIES_MAX: usize = 64;

/// The escrow domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct EscrowDomain;

/// Whatever happens writes one balance, one escrow, and whether it waits for its time.
struct Outcome {
    balance: (AccountId, Balance),
    escrow: (TransitionId, Escrow),
}

type Context<'a> = EventContext<'a, Parameters>;

/// Where an account's balance stands.
pub fn balance_key(account: &AccountId) -> Key {
    Key::new(DOMAIN_FIRST, &[&[0x01], account.as_bytes()])
}

/// Where an escrow stands.
pub fn escrow_key(id: &TransitionId) -> Key {
    Key::new(DOMAIN_FIRST, &[&[0x02], id.as_bytes()])
}

/// Where a held escrow waits for its time.
pub fn expiry_key(at: Timestamp, id: &TransitionId) -> Key {
    Key::new(DOMAIN_FIRST, &[&[0x03], &at.0.to_be_bytes(), id.as_bytes()])
}

/// Up to `limit` of the held escrows, in order of the time at which they go back.
fn held_until(view: &dyn View, limit: usize) -> Vec<(Timestamp, Key, TransitionId)> {
    let all = Key::new(DOMAIN_FIRST, &[&[0x03]]);
    let entry = |(key, value): (Key, Value)| {
        let time = key.as_bytes().get(1..9)?.try_into().ok()?;
        let Settle { escrow } = view.parse(&key, &value)?;
        Some((Timestamp(u64::from_be_bytes(time)), key, escrow))
    };
    view.range(&all, &all.upper_bound(), limit).into_iter().filter_map(entry).collect()
}

/// The balance of an account, granted or since changed.
fn balance(view: &dyn View, parameters: &Parameters, account: &AccountId) -> u64 {
    let granted =
        || parameters.grants.iter().find(|grant| grant.account == *account).map_or(0, |grant| grant.amount);
    view.record::<Balance>(&balance_key(account)).map_or_else(granted, |balance| balance.amount)
}

/// What comes of an escrow's amount going `to` somebody.
fn settled(
    view: &dyn View,
    parameters: &Parameters,
    (id, escrow): (TransitionId, Escrow),
    to: AccountId,
) -> Result<Outcome, Rejection> {
    let amount = balance(view, parameters, &to).checked_add(escrow.amount);
    let amount =
        amount.ok_or_else(|| Rejection::domain("balance_full", format!("{to} cannot hold that much")))?;
    let state = if to == escrow.payer { EscrowState::Refunded } else { EscrowState::Released };
    Ok(Outcome { balance: (to, Balance { amount }), escrow: (id, Escrow { state, ..escrow }) })
}

/// All rules in one place: [`Domain::verify`] asks whether there is an outcome, [`Domain::apply`] writes it.
fn decide(context: &Context<'_>, view: &dyn View, transition: &Transition) -> Result<Outcome, Rejection> {
    let author = context.author;
    match transition {
        Transition::Open(Open { payee, amount, duration }) => {
            if *payee == author {
                return Err(Rejection::domain("payee_is_payer", "an escrow is towards somebody else"));
            }
            if *amount == 0 {
                return Err(Rejection::domain("amount_zero", "an escrow is of more than 0"));
            }
            view.get(&account_key(payee)).ok_or(Rejection::AccountUnknown(*payee))?;
            let had = balance(view, context.parameters, &author);
            let left = had.checked_sub(*amount).ok_or_else(|| {
                Rejection::domain(
                    "funds_short",
                    format!("{amount} are more than the balance of {author}, {had}"),
                )
            })?;
            let expires_at = context.now().saturating_add(*duration);
            let state = EscrowState::Held;
            let escrow = Escrow { payer: author, payee: *payee, amount: *amount, expires_at, state };
            Ok(Outcome { balance: (author, Balance { amount: left }), escrow: (context.id, escrow) })
        }
        Transition::Release(Settle { escrow: id }) => {
            let escrow = held(view, id)?;
            if author != escrow.payer {
                return Err(Rejection::domain(
                    "not_payer",
                    format!("only {} can release {id}", escrow.payer),
                ));
            }
            if escrow.expires_at <= context.now() {
                let text = format!("{id} was held until {}, it goes back to its payer", escrow.expires_at);
                return Err(Rejection::domain("time_over", text));
            }
            let payee = escrow.payee;
            settled(view, context.parameters, (*id, escrow), payee)
        }
        Transition::Refund(Settle { escrow: id }) => {
            let escrow = held(view, id)?;
            let expired = escrow.expires_at <= context.now();
            if author == escrow.payer && !expired {
                let text = format!("{id} expires at {}, block time is {}", escrow.expires_at, context.now());
                return Err(Rejection::domain("not_expired", text));
            }
            if author != escrow.payer && author != escrow.payee {
                return Err(Rejection::domain(
                    "not_party",
                    format!("{author} neither pays {id} nor is paid by it"),
                ));
            }
            let payer = escrow.payer;
            settled(view, context.parameters, (*id, escrow), payer)
        }
    }
}

fn write(changes: &mut Changes<'_>, Outcome { balance, escrow }: &Outcome) {
    changes.put(&balance_key(&balance.0), &balance.1);
    changes.put(&escrow_key(&escrow.0), &escrow.1);
    let expiry = expiry_key(escrow.1.expires_at, &escrow.0);
    match escrow.1.state {
        EscrowState::Held => changes.put(&expiry, &Settle { escrow: escrow.0 }),
        EscrowState::Released | EscrowState::Refunded => changes.remove(&expiry),
    }
}

fn held(view: &dyn View, id: &TransitionId) -> Result<Escrow, Rejection> {
    let escrow: Option<Escrow> = view.record(&escrow_key(id));
    match escrow.ok_or_else(|| Rejection::domain("escrow_unknown", format!("there is no escrow {id}")))? {
        escrow if escrow.state == EscrowState::Held => Ok(escrow),
        escrow => Err(Rejection::domain("not_held", format!("{id} is {} already", escrow.state))),
    }
}

const SETTLE_EXAMPLE: &str = r#"{"escrow":"<64 hex digits>"}"#;

const fn kind((kind, name): (u16, &'static str), help: &'static str, example: &'static str) -> KindSpec {
    KindSpec { kind, name, bytes_max: 64, registers: false, since: 1, help, example }
}

impl Domain for EscrowDomain {
    const ID: &'static str = "escrow";
    const RULES: u16 = 1;
    const SUB_TREES: &'static [&'static str] = &["escrow"];
    const KINDS: &'static [KindSpec] = &[
        kind(
            (OPEN, "Open"),
            "Set an amount aside for a payee; duration in microseconds",
            r#"{"payee":"<64 hex digits>","amount":30,"duration":3600000000}"#,
        ),
        kind((RELEASE, "Release"), "Give an escrow to its payee; the payer's to do", SETTLE_EXAMPLE),
        kind(
            (REFUND, "Refund"),
            "Give an escrow back; the payee's to do, or the payer's once it is over",
            SETTLE_EXAMPLE,
        ),
    ];
    const READS: &'static [ReadSpec] = &[
        ReadSpec {
            name: "balance",
            arguments: &["account"],
            help: "What an account has at its free disposal",
        },
        ReadSpec {
            name: "escrow",
            arguments: &["id"],
            help: "An escrow, and whether its payer may take it back",
        },
    ];

    type Transition = Transition;
    type Parameters = Parameters;

    fn decode(kind: u16, payload: &[u8]) -> Result<Transition, CodecError> {
        match kind {
            OPEN => codec::decode(payload, PAYLOAD_BYTES_MAX).map(Transition::Open),
            RELEASE => codec::decode(payload, PAYLOAD_BYTES_MAX).map(Transition::Release),
            REFUND => codec::decode(payload, PAYLOAD_BYTES_MAX).map(Transition::Refund),
            _ => Err(CodecError::Form(format!("there is no transition kind {kind}"))),
        }
    }

    fn parties(_: &Transition, _: &AccountId) -> Vec<AccountId> {
        Vec::new()
    }

    fn verify(context: &Context<'_>, view: &dyn View, transition: &Transition) -> Result<(), Rejection> {
        decide(context, view, transition).map(drop)
    }

    fn apply(context: &Context<'_>, changes: &mut Changes<'_>, transition: &Transition) {
        if let Ok(outcome) = decide(context, changes.view(), transition) {
            write(changes, &outcome);
        }
    }

    fn begin_block(block: &BlockContext, parameters: &Parameters, changes: &mut Changes<'_>) {
        let due = held_until(changes.view(), EXPIRIES_MAX);
        for (_, expiry, id) in due.into_iter().filter(|(until, ..)| *until <= block.now) {
            changes.remove(&expiry);
            let Ok(escrow) = held(changes.view(), &id) else { continue };
            let payer = escrow.payer;
            // A payer who cannot hold that much has it refunded later.
            if let Ok(outcome) = settled(changes.view(), parameters, (id, escrow), payer) {
                write(changes, &outcome);
            }
        }
    }

    fn next_due(view: &dyn View) -> Option<Timestamp> {
        held_until(view, 1).first().map(|(until, ..)| *until)
    }

    fn transition_to_json(kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
        match Self::decode(kind, payload)? {
            Transition::Open(open) => serde_json::to_value(open),
            Transition::Release(settle) | Transition::Refund(settle) => serde_json::to_value(settle),
        }
        .map_err(|error| CodecError::Form(error.to_string()))
    }

    fn transition_from_json(kind: u16, json: &Json) -> Result<Vec<u8>, String> {
        match kind {
            OPEN => Open::deserialize(json).map(|open| codec::encode(&open)),
            RELEASE | REFUND => Settle::deserialize(json).map(|settle| codec::encode(&settle)),
            _ => return Err(format!("there is no transition kind {kind}")),
        }
        .map_err(|error| error.to_string())
    }

    fn record_to_json(key: &Key, value: &[u8]) -> Option<Json> {
        fn show<R: Serialize + DeserializeOwned>(value: &[u8]) -> Option<Json> {
            serde_json::to_value(codec::decode_trusted::<R>(value).ok()?).ok()
        }
        match key.as_bytes() {
            [0x01, account @ ..] if account.len() == 32 => show::<Balance>(value),
            [0x02, id @ ..] if id.len() == 32 => show::<Escrow>(value),
            [0x03, until @ ..] if until.len() == 40 => show::<Settle>(value),
            _ => None,
        }
    }

    fn read(name: &str, arguments: &[String], now: Timestamp, view: &dyn View) -> Result<Json, ReadError> {
        let wrong = |error: chaoschain_schemas::bytes::BytesError| ReadError::Argument(error.to_string());
        match (name, arguments) {
            ("balance", [account]) => {
                let account: AccountId = account.parse().map_err(wrong)?;
                let parameters: Parameters = view.record(&domain_parameters()).unwrap_or_default();
                let amount = view.get(&account_key(&account)).map(|_| balance(view, &parameters, &account));
                Ok(amount.map_or(Json::Null, |amount| json!({ "account": account, "amount": amount })))
            }
            ("escrow", [id]) => {
                let escrow: Option<Escrow> = view.record(&escrow_key(&id.parse().map_err(wrong)?));
                let Some(escrow) = escrow else { return Ok(Json::Null) };
                let refundable = escrow.state == EscrowState::Held && escrow.expires_at <= now;
                Ok(json!({ "id": id, "escrow": escrow, "payer_may_refund": refundable }))
            }
            ("balance" | "escrow", _) => Err(ReadError::Argument(format!("{name} takes one argument"))),
            _ => Err(ReadError::Unknown(name.to_owned())),
        }
    }
}
