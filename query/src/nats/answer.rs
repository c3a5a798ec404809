//! How an answer is written.

use chaoschain_events::micro::{Form, Payload};
use chaoschain_schemas::Blob;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value as Json;

use crate::answer::Answer;

/// The answer in this form. As MessagePack it is the JSON document, member for member, but that the proof is `bin`.
pub(super) fn write(form: Form, answer: &Answer<Json>) -> Payload {
    match form {
        Form::Json => form.write(answer),
        Form::MsgPack => form.write(&Packed(answer)),
    }
}

struct Packed<'a>(&'a Answer<Json>);

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Answer { at, label, value, proof } = self.0;
        let mut map = serializer.serialize_map(Some(3 + usize::from(proof.is_some())))?;
        // By way of JSON, since there hashes and ids are text and structures have names.
        let text = |part: serde_json::Result<Json>| part.map_err(serde::ser::Error::custom);
        map.serialize_entry("at", &text(serde_json::to_value(at))?)?;
        map.serialize_entry("label", &text(serde_json::to_value(label))?)?;
        map.serialize_entry("value", value)?;
        if let Some(proof) = proof {
            map.serialize_entry::<_, Blob>("proof", proof)?;
        }
        map.end()
    }
}
