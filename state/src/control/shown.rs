//! The kernel's payloads, records and reads as JSON.

use chaoschain_schemas::control::{
    Account, AccountRegistration, ChainState, KeyRotation, ParameterChange, Parameters, RoleGrant, Schedule,
    Suspension, Validators, kind,
};
use chaoschain_schemas::{AccountId, Blob, CodecError, Timestamp, codec};
use serde_json::{Value as Json, json};

use super::{READS, keys, kind_spec};
use crate::domain::{Machine, ReadError};
use crate::key::{CONTROL, Key};
use crate::view::{Fault, View};

/// A payload as JSON, the kernel's or the domain's. Parameters that this build cannot read, of rules that it may not know,
/// are shown as base64.
pub fn transition_to_json(machine: &dyn Machine, kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
    fn show<T: serde::Serialize + for<'a> serde::Deserialize<'a>>(
        payload: &[u8],
    ) -> Result<Json, CodecError> {
        let value: T = codec::decode(payload, payload.len())?;
        serde_json::to_value(value).map_err(|error| CodecError::Form(error.to_string()))
    }
    match kind {
        kind::ACCOUNT_REGISTRATION => show::<AccountRegistration>(payload),
        kind::KEY_ROTATION => show::<KeyRotation>(payload),
        kind::ROLE_GRANT => show::<RoleGrant>(payload),
        kind::SUSPENSION => show::<Suspension>(payload),
        kind::PARAMETER_CHANGE => {
            let mut json = show::<ParameterChange>(payload)?;
            let change: ParameterChange = codec::decode(payload, payload.len())?;
            if let Some(Ok(shown)) = change.domain.map(|domain| machine.parameters_to_json(&domain)) {
                json["domain"] = shown;
            }
            Ok(json)
        }
        _ => machine.transition_to_json(kind, payload),
    }
}

/// A payload from JSON, the kernel's or the domain's.
///
/// # Errors
/// What is wrong with it, in words.
pub fn transition_from_json(machine: &dyn Machine, kind: u16, json: &Json) -> Result<Blob, String> {
    fn read<T: serde::Serialize + serde::de::DeserializeOwned>(json: &Json) -> Result<Blob, String> {
        let value: T = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        Ok(codec::encode(&value).into())
    }
    match kind {
        kind::ACCOUNT_REGISTRATION => read::<AccountRegistration>(json),
        kind::KEY_ROTATION => read::<KeyRotation>(json),
        kind::ROLE_GRANT => read::<RoleGrant>(json),
        kind::SUSPENSION => read::<Suspension>(json),
        kind::PARAMETER_CHANGE => {
            let mut json = json.clone();
            if let Some(domain) = json.get_mut("domain").filter(|domain| !domain.is_null()) {
                let bytes = machine.parameters_from_json(domain)?;
                *domain = serde_json::to_value(Blob(bytes)).map_err(|error| error.to_string())?;
            }
            read::<ParameterChange>(&json)
        }
        _ => machine.transition_from_json(kind, json).map(Blob),
    }
}

/// A record as JSON, the kernel's or the domain's; `None` for a key that neither has.
pub fn record_to_json(machine: &dyn Machine, key: &Key, value: &[u8]) -> Option<Json> {
    fn show<T: serde::Serialize + serde::de::DeserializeOwned>(value: &[u8]) -> Option<Json> {
        serde_json::to_value(codec::decode_trusted::<T>(value).ok()?).ok()
    }
    if key.sub_tree() != CONTROL {
        return machine.record_to_json(key, value);
    }
    match key.as_bytes() {
        [0x01, rest @ ..] if rest.len() == 32 => show::<Account>(value),
        [0x02] => show::<Parameters>(value),
        [0x03] => machine.parameters_to_json(value).ok(),
        [0x04] => show::<Validators>(value),
        [0x05] => show::<ChainState>(value),
        [0x06] => Some(schedule_to_json(machine, &codec::decode_trusted(value).ok()?)),
        _ => None,
    }
}

/// What waits for its height, each as the transition that decided it.
fn schedule_to_json(machine: &dyn Machine, schedule: &Schedule) -> Json {
    let changes = schedule.changes.iter().map(|scheduled| {
        let change = transition_to_json(machine, scheduled.kind, &scheduled.payload).unwrap_or_default();
        let kind = kind_spec(machine, scheduled.kind).map(|spec| spec.name);
        json!({ "at": scheduled.at, "event": scheduled.event, "kind": kind, "change": change })
    });
    json!({ "changes": changes.collect::<Vec<_>>() })
}

/// Answers a named read of the state at block time `now`, the kernel's or the domain's; `Json::Null` when what is asked
/// for does not exist.
pub fn read(
    machine: &dyn Machine,
    name: &str,
    arguments: &[String],
    now: Timestamp,
    view: &dyn View,
) -> Result<Json, ReadError> {
    let show = |key: Key| {
        let Some(value) = view.get(&key) else { return Json::Null };
        record_to_json(machine, &key, &value).unwrap_or_else(|| {
            // What is there and cannot be read is not absent.
            view.note(Fault::Corrupt(Box::new(key), "it is no record of its kind".into()));
            Json::Null
        })
    };
    let spec = READS.iter().chain(machine.reads()).find(|spec| spec.name == name);
    let spec = spec.ok_or_else(|| ReadError::Unknown(name.to_owned()))?;
    if spec.arguments.len() != arguments.len() {
        let text = format!(
            "{name} takes {} arguments ({}), got {}",
            spec.arguments.len(),
            spec.arguments.join(", "),
            arguments.len()
        );
        return Err(ReadError::Argument(text));
    }
    match name {
        "account" => {
            let id = arguments[0].parse::<AccountId>();
            Ok(show(keys::account(&id.map_err(|error| ReadError::Argument(error.to_string()))?)))
        }
        "parameters" => Ok(json!({
            "kernel": show(keys::parameters()),
            "domain": show(keys::domain_parameters()),
            "chain": show(keys::chain()),
            "scheduled": show(keys::schedule()).get_mut("changes").map_or(json!([]), Json::take),
        })),
        "validators" => {
            let mut shown = show(keys::validators());
            let mut suspended = Vec::new();
            for member in shown.get_mut("members").and_then(Json::as_array_mut).into_iter().flatten() {
                let id = member["account"].as_str().and_then(|id| id.parse::<AccountId>().ok());
                let account = id.and_then(|id| view.record::<Account>(&keys::account(&id)));
                suspended.extend(id.filter(|_| account.as_ref().is_some_and(|account| account.suspended)));
                member["key"] = json!(account.map(|account| account.key));
            }
            shown["suspended"] = json!(suspended);
            Ok(shown)
        }
        _ => machine.read(name, arguments, now, view),
    }
}
