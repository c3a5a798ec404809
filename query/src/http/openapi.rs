//! The description of the interface, for tools and for merging with other services' descriptions.

use chaoschain_state::domain::{Machine, ReadSpec};
use serde_json::{Value as Json, json};
use utoipa::openapi::OpenApi;

use crate::named::catalogue;

/// Paths that every chain has: path, what it answers, whether that is bytes.
const PATHS: [(&str, &str, bool); 16] = [
    ("/v1/status", "What this node says of itself", false),
    ("/v1/kinds", "The kinds of transitions, with examples", false),
    ("/v1/reads", "The named reads and the read models", false),
    (
        "/v1/finality",
        "How far the chain is final, and what validators say; its proof is the newest final header",
        false,
    ),
    (
        "/v1/blocks/{height}",
        "A block with its events decoded and all signatures; its proof is its signed header",
        false,
    ),
    ("/v1/blocks/{height}/raw", "A block as it stands in the log: what `verify block` takes", true),
    (
        "/v1/blocks/{height}/witness",
        "A block with the part of the state that checking it takes, while the state before it is kept: what `verify block` runs \
         the rules on",
        true,
    ),
    ("/v1/events/{height}/{index}", "An event by its address, with its receipt", false),
    ("/v1/events/by-id/{id}", "An event by its transition's id, with its receipt", false),
    ("/v1/records/{sub_tree}/{key}", "One record by its sub-tree and key in hex", false),
    ("/v1/tree", "Where this node stands, and at which block it has computed another root, if it has", false),
    (
        "/v1/tree/{height}",
        "The roots of the state that this node computed at a height, and the block's header",
        false,
    ),
    (
        "/v1/tree/{height}/{sub_tree}",
        "The top of a sub-tree of that state by its number, as a pruned tree",
        false,
    ),
    (
        "/v1/tree/{height}/{sub_tree}/{of}",
        "The part that opens a region of keys (number of bits, a dot, the bits in hex); or one record by its key in hex, or \
         its absence, proven",
        false,
    ),
    ("/v1/tree/{height}/{sub_tree}/{of}/{depth}", "So many levels of a region, 1 to 5", false),
    ("/v1/models/{name}", "A read model's answer; it is in no root and has no proof", false),
];

/// Describes the interface of a chain of this domain, its named reads included.
///
/// # Panics
/// Never: the description is put together here and is tested.
pub fn openapi(machine: &dyn Machine) -> OpenApi {
    let fixed = PATHS.iter().map(|(path, help, bytes)| ((*path).to_owned(), operation(path, help, *bytes)));
    let named = catalogue(machine).map(|spec| {
        let path = path_of(spec);
        let operation = operation(&path, spec.help, false);
        (path, operation)
    });
    let paths: serde_json::Map<_, _> = fixed.chain(named).collect();
    let description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "chaoschain query",
            "description": "Reads with proofs. Every answer names the height, state root and header hash it was read at.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    });
    serde_json::from_value(description).expect("the description above is of the form that OpenAPI prescribes")
}

fn path_of(spec: &ReadSpec) -> String {
    spec.arguments
        .iter()
        .fold(format!("/v1/{}", spec.name), |path, argument| format!("{path}/{{{argument}}}"))
}

fn operation(path: &str, help: &str, bytes: bool) -> Json {
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = [
        ("proof", "boolean", "Prove the answer, absence included"),
        (
            "finality",
            "string",
            "latest or finalized: take blocks as come when they are in the log, or when they are final",
        ),
        ("min_height", "integer", "Wait until this height is reached"),
        ("at_height", "integer", "Read the state of this height, while it is kept"),
        ("patience_ms", "integer", "How long to wait for a height"),
    ];
    let in_query = in_query.map(|(name, kind, help)| {
        json!({ "name": name, "in": "query", "required": false, "description": help, "schema": { "type": kind } })
    });
    let refused = json!({
        "description": "Refused, with a stable code",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
    });
    let content = if bytes {
        json!({ "application/octet-stream": {} })
    } else {
        json!({
            "application/json": { "schema": { "$ref": "#/components/schemas/Answer" } },
            "application/msgpack": {},
        })
    };
    json!({
        "get": {
            "tags": ["query"],
            "summary": help,
            "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
            "responses": {
                "200": { "description": help, "content": content },
                "default": refused,
            },
        },
    })
}

fn schemas() -> Json {
    let text = |help: &str| json!({ "type": "string", "description": help });
    let number = |help: &str| json!({ "type": "integer", "description": help });
    json!({
        "ReadPoint": {
            "type": "object",
            "required": ["chain", "height", "header_hash", "state_root", "timestamp"],
            "properties": {
                "chain": text("The chain's id, hex"),
                "height": number("The height whose state was read"),
                "header_hash": text("The hash of its header, hex"),
                "state_root": text("The state root at that height, hex"),
                "timestamp": number("Block time, microseconds since the Unix epoch"),
            },
        },
        "Answer": {
            "type": "object",
            "required": ["at", "label", "value"],
            "properties": {
                "at": { "$ref": "#/components/schemas/ReadPoint" },
                "label": { "type": "string", "enum": ["producer-signed", "finalized", "computed"] },
                "value": {
                    "type": ["object", "array", "string", "number", "boolean", "null"],
                    "description": "What was read; null when it does not exist",
                },
                "proof": text("The proof file, base64, when it was asked for"),
            },
        },
        "ErrorBody": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": text("A stable word for programs"),
                "message": text("What failed, on what, and what to do"),
                "retry_after_ms": number("When trying the same again makes sense"),
            },
        },
    })
}
