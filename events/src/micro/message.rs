//! Requests and answers: their forms, their headers, and who is asked from where.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::codec;
use serde::Serialize;

/// Header names; on NATS their case matters.
pub(super) mod header {
    pub(in crate::micro) const CONTENT_TYPE: &str = "Content-Type";
    pub(in crate::micro) const ACCEPT: &str = "Accept";
    pub(in crate::micro) const ERROR: &str = async_nats::service::NATS_SERVICE_ERROR;
    pub(in crate::micro) const ERROR_CODE: &str = async_nats::service::NATS_SERVICE_ERROR_CODE;
}

/// The most of a refusal that goes into a header, characters; the body has it whole.
const SENTENCE_CHARS_MAX: usize = 512;
/// What no answer is sent to: the server's own subjects, and the chains'.
const FORBIDDEN: [&str; 2] = ["$", "chaoschain."];

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// MessagePack.
    MsgPack,
}

impl Form {
    /// The content type that says so.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MsgPack => "application/msgpack",
        }
    }

    /// The form that a content type names, whatever its parameters.
    ///
    /// # Errors
    /// Status 415 for any other.
    pub fn of(content_type: &str) -> Result<Self, Refusal> {
        let named = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::MsgPack].into_iter().find(|form| form.content_type() == named).ok_or_else(|| {
            let [json, msgpack] = [Self::Json, Self::MsgPack].map(Self::content_type);
            let text = format!("content type {named:?} is not taken here; send {json} or {msgpack}");
            Refusal::new(415, "content_type_unknown", text)
        })
    }

    /// `value` in this form; MessagePack as the codec writes it.
    pub fn write<T: Serialize + ?Sized>(self, value: &T) -> Payload {
        let bytes = match self {
            Self::Json => serde_json::to_vec(value).unwrap_or_default(),
            Self::MsgPack => codec::encode(value),
        };
        Payload { content_type: self.content_type(), bytes: bytes.into() }
    }
}

/// What an answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What it is.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A request that is not answered with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status that says the same.
    pub status: u16,
    /// What is said.
    pub body: ErrorBody,
}

impl Refusal {
    /// A refusal after which trying the same again makes no sense.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), retry_after_ms: None };
        Self { status, body }
    }

    /// The same, but trying again makes sense after this long.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.body.retry_after_ms = u64::try_from(span.as_millis()).ok();
        self
    }

    /// Whether something is wrong with this node rather than with the request.
    pub(super) const fn is_ours(&self) -> bool {
        self.status >= 500 && self.body.retry_after_ms.is_none()
    }

    /// Code and message in one line of ASCII: there are clients that give up all headers where one is more than that.
    pub(super) fn sentence(&self) -> String {
        let ErrorBody { code, message, .. } = &self.body;
        let plain = |letter: char| match letter {
            'µ' => 'u',
            _ if letter.is_control() => ' ',
            _ if letter.is_ascii() => letter,
            _ => '?',
        };
        format!("{code}: {message}").chars().take(SENTENCE_CHARS_MAX).map(plain).collect()
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its bytes.
    pub payload: Bytes,
    /// The form of these.
    pub content: Form,
    /// The form that the answer is wanted in.
    pub answer: Form,
    /// Who asks, as far as that can be told: a digest of what the reply subject starts with (one connection, or one
    /// user with an inbox prefix of its own).
    pub from: u64,
}

impl Request {
    pub(super) fn read(
        message: &Message,
        reply: &Subject,
        answer: Form,
        bytes_max: usize,
    ) -> Result<Self, Refusal> {
        let content = match find(message.headers.as_ref(), header::CONTENT_TYPE) {
            Some(content_type) => Form::of(content_type)?,
            None => Form::MsgPack,
        };
        let payload = message.payload.clone();
        if payload.len() > bytes_max {
            let text = format!("{} bytes are more than the {bytes_max} allowed here", payload.len());
            return Err(Refusal::new(413, "too_large", text));
        }
        let digest = blake3::hash(asker(reply).as_bytes());
        let from = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Ok(Self { payload, content, answer, from })
    }
}

/// The part of a reply subject that is the same in all requests of a user, where the operator gives each user an inbox prefix
/// of its own and permission for no other: its first token. Below the common `_INBOX` the second one tells connections apart.
/// The last token is of one request and never counts.
fn asker(reply: &str) -> &str {
    let stem = reply.rsplit_once('.').map_or("", |(stem, _)| stem);
    match stem.split_once('.') {
        Some(("_INBOX", rest)) => {
            let connection = rest.split_once('.').map_or(rest, |(connection, _)| connection);
            &stem[.."_INBOX.".len() + connection.len()]
        }
        Some((user, _)) => user,
        None => stem,
    }
}

/// The form that an answer is wanted in: what `Accept` names, else that of the request, else MessagePack.
pub(super) fn answers_in(headers: Option<&HeaderMap>) -> Form {
    let accept = find(headers, header::ACCEPT).unwrap_or_default();
    if let Some(form) = accept.split(',').find_map(|form| Form::of(form).ok()) {
        return form;
    }
    find(headers, header::CONTENT_TYPE).and_then(|content| Form::of(content).ok()).unwrap_or(Form::MsgPack)
}

pub(super) fn find<'a>(headers: Option<&'a HeaderMap>, name: &'static str) -> Option<&'a str> {
    headers?.get(name).map(AsRef::as_ref)
}

/// Where the answer goes, if it may go there.
pub(super) fn answerable(reply: Option<&Subject>) -> Result<Subject, Refusal> {
    let reply = reply.ok_or_else(|| Refusal::new(400, "reply_missing", "it names no reply subject"))?;
    if FORBIDDEN.iter().any(|start| reply.starts_with(start)) {
        return Err(Refusal::new(400, "reply_forbidden", format!("nothing is answered to {reply}")));
    }
    Ok(reply.clone())
}

pub(super) fn refusal_headers(refusal: &Refusal, form: Form) -> (HeaderMap, Payload) {
    let payload = form.write(&refusal.body);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, payload.content_type);
    headers.insert(header::ERROR_CODE, refusal.status.to_string());
    headers.insert(header::ERROR, refusal.sentence());
    (headers, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, *value);
        }
        headers
    }

    #[test]
    fn answers_come_in_the_form_that_is_accepted_else_the_requests() {
        let cases: [(&[(&'static str, &str)], Form); 9] = [
            (&[], Form::MsgPack),
            (&[("Accept", "application/json")], Form::Json),
            (&[("Accept", "text/html, application/json;q=0.9")], Form::Json),
            (&[("Accept", "*/*")], Form::MsgPack),
            (&[("Content-Type", "application/json; charset=utf-8")], Form::Json),
            (&[("Content-Type", "application/json"), ("Accept", "application/msgpack")], Form::MsgPack),
            (&[("Content-Type", "application/json"), ("Accept", "*/*")], Form::Json),
            (&[("Content-Type", "text/plain")], Form::MsgPack),
            (&[("accept", "application/json")], Form::MsgPack),
        ];
        for (fields, form) in cases {
            assert_eq!(answers_in(Some(&headers(fields))), form, "{fields:?}");
        }
        assert_eq!(answers_in(None), Form::MsgPack);
    }

    #[test]
    fn a_connection_is_one_asker_and_so_is_a_user_with_a_prefix() {
        let cases = [
            ("_INBOX.conn.1", "_INBOX.conn"),
            ("_INBOX.conn.2", "_INBOX.conn"),
            ("_INBOX.once", "_INBOX"),
            ("_INBOX.ana.conn.1", "_INBOX.ana"),
            ("_INBOX_ana.conn.1", "_INBOX_ana"),
            ("_INBOX_ana.conn.more.1", "_INBOX_ana"),
            ("_INBOX_ana.1", "_INBOX_ana"),
            ("alone", ""),
        ];
        for (reply, from) in cases {
            assert_eq!(asker(reply), from, "{reply}");
        }
    }

    #[test]
    fn answers_go_to_inboxes_only() {
        for reply in ["chaoschain.00ff.block", "$JS.API.STREAM.PURGE.chaoschain-00ff", "$SRV.PING"] {
            let refused = answerable(Some(&Subject::from(reply))).unwrap_err();
            assert_eq!(refused.body.code, "reply_forbidden", "{reply}");
        }
        assert_eq!(answerable(None).unwrap_err().body.code, "reply_missing");
        assert!(answerable(Some(&Subject::from("_INBOX.a.b"))).is_ok());
    }

    #[test]
    fn a_refusal_fits_into_a_header() {
        let text = format!("{}\r\nNats-Service-Error-Code: 200", "ö".repeat(600));
        let refusal = Refusal::new(400, "malformed", text);
        let (headers, payload) = refusal_headers(&refusal, Form::MsgPack);
        let sentence = headers.get(header::ERROR).unwrap().as_str();
        assert!(sentence.starts_with("malformed: ?") && !sentence.contains('\n'));
        assert_eq!((sentence.len(), sentence.is_ascii()), (SENTENCE_CHARS_MAX, true));
        assert_eq!(codec::decode::<ErrorBody>(&payload.bytes, 4096), Ok(refusal.body));
        let early = Refusal::new(400, "malformed", "a\r\nb 5 µs").sentence();
        assert_eq!(early, "malformed: a  b 5 us");
    }
}
