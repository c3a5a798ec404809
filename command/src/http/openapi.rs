//! The description of the interface, for tools and for merging with other services' descriptions.

use serde_json::{Value as Json, json};
use utoipa::openapi::OpenApi;

use super::{JSON, MSGPACK};
use crate::options::BATCH_EVENTS_MAX;

/// Describes how transitions are submitted.
///
/// # Panics
/// Never: the description is put together here and is tested.
pub fn openapi() -> OpenApi {
    let description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "chaoschain command",
            "description": "Submission of signed transitions. The same signed bytes give one event and one receipt, \
                            however often they are submitted.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": {
            "/v1/transitions": { "post": submit() },
            "/v1/transitions/batch": { "post": submit_batch() },
        },
        "components": { "schemas": schemas() },
    });
    serde_json::from_value(description).expect("the description above is of the form that OpenAPI prescribes")
}

fn submit() -> Json {
    json!({
        "summary": "Submit one signed transition and wait for its receipt",
        "operationId": "submitTransition",
        "parameters": [{
            "name": "dry_run",
            "in": "query",
            "required": false,
            "description": "Only say what would become of it on the newest confirmed height",
            "schema": { "type": "boolean" },
        }],
        "requestBody": { "required": true, "content": both("Submission", "The envelope's bytes") },
        "responses": responses(
            "Where it stands; with dry_run what would become of it",
            &both("Receipt", "The receipt as an array of its fields"),
        ),
    })
}

fn submit_batch() -> Json {
    let text = format!("Submit up to {BATCH_EVENTS_MAX} signed transitions; each is judged by itself");
    json!({
        "summary": text,
        "operationId": "submitTransitions",
        "requestBody": { "required": true, "content": both("BatchSubmission", "An array of the envelopes' bytes") },
        "responses": responses(
            "What each came to, in the order given",
            &json!({
                JSON: { "schema": { "type": "array", "items": reference("BatchOutcome") } },
                MSGPACK: { "schema": { "type": "string", "contentMediaType": MSGPACK } },
            }),
        ),
    })
}

fn reference(schema: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn both(schema: &str, binary: &str) -> Json {
    json!({
        JSON: { "schema": reference(schema) },
        MSGPACK: { "schema": { "type": "string", "contentMediaType": MSGPACK, "description": binary } },
    })
}

fn responses(success: &str, content: &Json) -> Json {
    let mut responses = json!({ "200": { "description": success, "content": content } });
    let refusals = [
        ("400", "Not of the required form"),
        ("409", "A nonce was used or lies ahead, or an expectation does not hold"),
        ("413", "Too large"),
        ("415", "A content type that is not taken"),
        ("422", "A signature does not hold, or a rule refuses it"),
        ("429", "Busy: try again later"),
        ("503", "No block can be sealed now, or the outcome is unknown"),
    ];
    for (status, description) in refusals {
        responses[status] =
            json!({ "description": description, "content": { JSON: { "schema": reference("ErrorBody") } } });
    }
    responses
}

fn schemas() -> Json {
    let hash = || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let base64 = || json!({ "type": "string", "contentEncoding": "base64" });
    let number = || json!({ "type": "integer", "minimum": 0 });
    json!({
        "Submission": object(&["envelope"], &json!({ "envelope": base64() })),
        "BatchSubmission": object(
            &["envelopes"],
            &json!({ "envelopes": { "type": "array", "items": base64(), "maxItems": BATCH_EVENTS_MAX } }),
        ),
        "Receipt": object(
            &["id", "height", "index", "header_hash"],
            &json!({ "id": hash(), "height": number(), "index": number(), "header_hash": hash() }),
        ),
        "BatchOutcome": object(
            &["receipt", "error"],
            &json!({
                "receipt": { "oneOf": [reference("Receipt"), { "type": "null" }] },
                "error": { "oneOf": [reference("ErrorBody"), { "type": "null" }] },
            }),
        ),
        "ErrorBody": object(
            &["code", "message"],
            &json!({
                "code": { "type": "string" },
                "message": { "type": "string" },
                "retry_after_ms": number(),
            }),
        ),
    })
}

fn object(required: &[&str], properties: &Json) -> Json {
    json!({ "type": "object", "required": required, "properties": properties })
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::api::{BatchOutcome, BatchSubmission, ErrorBody, Receipt, Submission};
    use chaoschain_schemas::{Blob, Hash, Height, TransitionId};

    use super::*;

    #[test]
    fn the_description_names_the_fields_that_are_sent() {
        let described = serde_json::to_value(openapi()).unwrap();
        assert_eq!(described["paths"].as_object().unwrap().len(), 2);
        let schemas = &described["components"]["schemas"];
        let error = ErrorBody { code: "busy".into(), message: "full".into(), retry_after_ms: Some(1) };
        let receipt = Receipt {
            id: TransitionId::new([1; 32]),
            height: Height(1),
            index: 0,
            header_hash: Hash::new([2; 32]),
        };
        let blob = Blob(vec![1, 2, 3]);
        let samples = [
            ("Submission", serde_json::to_value(Submission { envelope: blob.clone() })),
            ("BatchSubmission", serde_json::to_value(BatchSubmission { envelopes: vec![blob] })),
            ("Receipt", serde_json::to_value(receipt)),
            ("BatchOutcome", serde_json::to_value(BatchOutcome { receipt: Some(receipt), error: None })),
            ("ErrorBody", serde_json::to_value(error)),
        ];
        for (name, sample) in samples {
            let mut sent: Vec<_> = sample.unwrap().as_object().unwrap().keys().cloned().collect();
            let mut said: Vec<_> = schemas[name]["properties"].as_object().unwrap().keys().cloned().collect();
            sent.sort();
            said.sort();
            assert_eq!(sent, said, "{name}");
        }
    }
}
