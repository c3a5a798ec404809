//! The closed enumeration of transitions.

use chaoschain_schemas::society::{
    AgentRegistration, AllianceBetrayal, AllianceDeparture, AllianceFormation, AllianceReconciliation,
    ConflictReport, ConflictResolution, CustomDelete, CustomSet, DramaRecord, MemeInfluence, MemePublication,
    MemeReaction, OpinionCast, Payload, PersonalityShift, ReputationUpdate, SocialInteraction, StatusUpdate,
};
use chaoschain_schemas::{CodecError, codec};
use serde_json::Value as Json;

macro_rules! transitions {
    ($($payload:ident),+ $(,)?) => {
        /// What may happen in the society; each payload's docs say what it does.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Transition {
            $(#[doc = concat!("[`", stringify!($payload), "`]")] $payload($payload)),+
        }

        $(impl From<$payload> for Transition {
            fn from(payload: $payload) -> Self {
                Self::$payload(payload)
            }
        })+

        impl Transition {
            /// The kind's number.
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$payload(_) => $payload::KIND),+ }
            }

            /// Reads a payload of this kind, checking form and limits.
            ///
            /// # Errors
            /// [`CodecError`].
            pub fn decode(kind: u16, payload: &[u8]) -> Result<Self, CodecError> {
                match kind {
                    $($payload::KIND => $payload::decode(payload).map(Self::$payload),)+
                    _ => Err(CodecError::Form(unknown(kind))),
                }
            }

            /// The payload's bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$payload(payload) => codec::encode(payload)),+ }
            }

            /// Reads a payload of this kind from its JSON form, checking limits.
            ///
            /// # Errors
            /// What is wrong with it, in words.
            pub fn from_json(kind: u16, json: &Json) -> Result<Self, String> {
                match kind {
                    $($payload::KIND => payload_from_json::<$payload>(json).map(Self::$payload),)+
                    _ => Err(unknown(kind)),
                }
            }

            /// The payload's JSON form.
            ///
            /// # Errors
            /// None that a decoded payload could cause.
            pub fn to_json(&self) -> Result<Json, CodecError> {
                match self { $(Self::$payload(payload) => serde_json::to_value(payload)),+ }
                    .map_err(|error| CodecError::Form(error.to_string()))
            }
        }
    };
}

transitions!(
    AgentRegistration,
    StatusUpdate,
    ReputationUpdate,
    PersonalityShift,
    AllianceFormation,
    AllianceDeparture,
    AllianceBetrayal,
    AllianceReconciliation,
    SocialInteraction,
    DramaRecord,
    MemePublication,
    MemeInfluence,
    MemeReaction,
    CustomSet,
    CustomDelete,
    ConflictReport,
    OpinionCast,
    ConflictResolution,
);

fn unknown(kind: u16) -> String {
    format!("the society has no transition kind {kind}")
}

fn payload_from_json<P: Payload>(json: &Json) -> Result<P, String> {
    let payload = P::deserialize(json).map_err(|error| error.to_string())?;
    payload.check()?;
    Ok(payload)
}
