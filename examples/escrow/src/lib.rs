//! A domain of one's own: escrow, in a page.
//!
//! Genesis grants balances. A payer opens an escrow towards a payee; the payer releases it, or the payee refunds it, or
//! the payer takes it back once its time is over. Accounts and keys are the kernel's own (`AccountRegistration`).
//!
//! # Format
//! | key in sub-tree 2 | record |
//! |---|---|
//! | `01` ‖ account (32) | [`Balance`]; while there is none, what genesis granted |
//! | `02` ‖ opening transition (32) | [`Escrow`] |
//!
//! # Invariants
//! - Balances and held escrows always sum up to what genesis granted.

mod totals;

pub use totals::Totals;

use chaoschain_schemas::{
    AccountId, CodecError, Micros, Timestamp, TransitionId, code_enum, codec, limits::PAYLOAD_BYTES_MAX,
};
use chaoschain_state::control::keys::{account as account_key, domain_parameters};
use chaoschain_state::domain::{Domain, EventContext, KindSpec, ReadError, ReadSpec};
use chaoschain_state::{Changes, DOMAIN_FIRST, Key, Rejection, View};
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
    /// The block time from which on the payer may take it back.
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
    /// How long the payer cannot take it back.
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
    /// It goes back to the payer: by the payee at any time, by the payer once its time is over.
    Refund(Settle),
}

/// The kind of [`Transition::Open`].
pub const OPEN: u16 = 256;
/// The kind of [`Transition::Release`].
pub const RELEASE: u16 = 257;
/// The kind of [`Transition::Refund`].
pub const REFUND: u16 = 258;

/// The escrow domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct EscrowDomain;

/// Every accepted transition writes one balance and one escrow.
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

/// The balance of an account, granted or since changed.
fn balance(view: &dyn View, parameters: &Parameters, account: &AccountId) -> u64 {
    let granted =
        || parameters.grants.iter().find(|grant| grant.account == *account).map_or(0, |grant| grant.amount);
    view.record::<Balance>(&balance_key(account)).map_or_else(granted, |balance| balance.amount)
}

/// All rules in one place: [`Domain::verify`] asks whether there is an outcome, [`Domain::apply`] writes it.
fn decide(context: &Context<'_>, view: &dyn View, transition: &Transition) -> Result<Outcome, Rejection> {
    let author = context.author;
    let balance = |account: &AccountId| balance(view, context.parameters, account);
    let settled = |id: TransitionId, escrow: Escrow, to: AccountId, state| {
        let amount = balance(&to).checked_add(escrow.amount);
        let amount =
            amount.ok_or_else(|| Rejection::domain("balance_full", format!("{to} cannot hold that much")))?;
        Ok(Outcome { balance: (to, Balance { amount }), escrow: (id, Escrow { state, ..escrow }) })
    };
    match transition {
        Transition::Open(Open { payee, amount, duration }) => {
            if *payee == author {
                return Err(Rejection::domain("payee_is_payer", "an escrow is towards somebody else"));
            }
            if *amount == 0 {
                return Err(Rejection::domain("amount_zero", "an escrow is of more than 0"));
            }
            view.get(&account_key(payee)).ok_or(Rejection::AccountUnknown(*payee))?;
            let had = balance(&author);
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
            let payee = escrow.payee;
            settled(*id, escrow, payee, EscrowState::Released)
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
            settled(*id, escrow, payer, EscrowState::Refunded)
        }
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
    KindSpec { kind, name, bytes_max: 64, registers: false, help, example }
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
        if let Ok(Outcome { balance, escrow }) = decide(context, changes.view(), transition) {
            changes.put(&balance_key(&balance.0), &balance.1);
            changes.put(&escrow_key(&escrow.0), &escrow.1);
        }
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
