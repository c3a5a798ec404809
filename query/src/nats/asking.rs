//! A request, and how it is read.

use std::io::Cursor;

use chaoschain_events::micro::Form;
use serde::{Deserialize, Serialize};

use crate::error::QueryError;
use crate::http::ask::Parameters;
use crate::query::{Ask, Finality};

/// The most nested a request may be, levels; a valid one has two.
const DEPTH_MAX: usize = 8;

/// What is asked of an endpoint: a JSON object or a MessagePack map. Whatever is not said is as by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// A misspelt min_height must not read an older state.
#[serde(default, deny_unknown_fields)]
pub struct Asking {
    /// The name of the read, singular or plural: for `read` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// The name of the read model: for `model` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The arguments as text, those in the HTTP path, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Prove the answer, absence included.
    pub proof: bool,
    /// Wait until this height is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_height: Option<u64>,
    /// Read the state of exactly this height, while it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_height: Option<u64>,
    /// Which blocks count as come.
    pub finality: Finality,
    /// How long to wait for a height, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
}

impl Asking {
    /// Reads a request; one without bytes says nothing.
    pub(super) fn read(form: Form, bytes: &[u8]) -> Result<Self, QueryError> {
        let read = match form {
            _ if bytes.is_empty() => Ok(Self::default()),
            // The readers would take a list for the fields in their order, which nobody could extend.
            Form::Json if !bytes.trim_ascii_start().starts_with(b"{") => Err("it is no JSON object".into()),
            Form::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            Form::MsgPack => from_map(bytes),
        };
        read.map_err(|error| QueryError::Argument(format!("the request is not of its form: {error}")))
    }

    /// The arguments as the path over HTTP has them, and how to answer.
    pub(super) fn take_apart(self, endpoint: &str) -> Result<(Vec<String>, Ask), QueryError> {
        let Self { read, model, mut arguments, proof, min_height, at_height, finality, patience_ms } = self;
        for (field, name) in [("read", read), ("model", model)] {
            match name {
                Some(name) if field == endpoint => arguments.insert(0, name),
                None if field == endpoint => {
                    return Err(QueryError::Argument(format!("no {field} is named")));
                }
                Some(_) => return Err(QueryError::Argument(format!("{endpoint} takes no {field}"))),
                None => {}
            }
        }
        let ask = Parameters { proof, min_height, at_height, finality, patience_ms }.try_into()?;
        Ok((arguments, ask))
    }
}

/// Reads a MessagePack map with nothing after it.
fn from_map(bytes: &[u8]) -> Result<Asking, String> {
    if !matches!(bytes[0], 0x80..=0x8f | 0xde | 0xdf) {
        return Err("it is no MessagePack map; say so if it is JSON, by Content-Type".into());
    }
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(DEPTH_MAX);
    let asking = Asking::deserialize(&mut reader).map_err(|error| error.to_string())?;
    match bytes.len() as u64 - reader.position() {
        0 => Ok(asking),
        extra => Err(format!("{extra} bytes too many after it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let said = r#"{"read":"agent","arguments":["00ff"],"min_height":7,"finality":"finalized"}"#;
        let asking = Asking::read(Form::Json, said.as_bytes()).unwrap();
        let packed = rmp_serde::to_vec_named(&asking).unwrap();
        assert_eq!(Asking::read(Form::MsgPack, &packed), Ok(asking.clone()));
        assert_eq!(asking.finality, Finality::Finalized);
        let (arguments, ask) = asking.take_apart("read").unwrap();
        assert_eq!(arguments, ["agent", "00ff"]);
        assert_eq!(ask.at, crate::At::AtLeast(chaoschain_schemas::Height(7)));
        assert_eq!(Asking::read(Form::MsgPack, b""), Ok(Asking::default()));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let asking = Asking { read: Some("root".into()), ..Asking::default() };
        let packed = rmp_serde::to_vec_named(&asking).unwrap();
        let nested = [&[0x81, 0xa4][..], b"read", &[0x91; 100], &[0xc0]].concat();
        let twice = [&[0x82, 0xa5][..], b"proof", &[0xc3, 0xa5], b"proof", &[0xc2]].concat();
        let cases: [(Form, &[u8]); 11] = [
            (Form::Json, b"[]"),
            (Form::Json, br#"{"proof":true} {}"#),
            (Form::Json, br#"{"prof":true}"#),
            (Form::Json, br#"{"arguments":[1]}"#),
            (Form::Json, br#"{"min_height":-1}"#),
            (Form::MsgPack, b"{}"),
            (Form::MsgPack, &rmp_serde::to_vec(&asking).unwrap()),
            (Form::MsgPack, &[&packed[..], &[0xc0]].concat()),
            (Form::MsgPack, &packed[..packed.len() - 1]),
            (Form::MsgPack, &nested),
            (Form::MsgPack, &twice),
        ];
        for (form, bytes) in cases {
            let error = Asking::read(form, bytes).unwrap_err();
            assert_eq!(error.code(), "argument_wrong", "{bytes:02x?}");
        }
    }

    #[test]
    fn names_belong_to_their_endpoints() {
        let asking = |read: Option<&str>, model: Option<&str>| Asking {
            read: read.map(Into::into),
            model: model.map(Into::into),
            ..Asking::default()
        };
        assert!(asking(Some("root"), None).take_apart("read").is_ok());
        assert!(asking(None, Some("leaderboard")).take_apart("model").is_ok());
        assert!(asking(None, None).take_apart("status").is_ok());
        for (endpoint, asking) in [
            ("read", asking(None, None)),
            ("read", asking(None, Some("leaderboard"))),
            ("model", asking(Some("root"), None)),
            ("status", asking(Some("root"), None)),
        ] {
            assert!(asking.take_apart(endpoint).is_err(), "{endpoint}");
        }
    }
}
