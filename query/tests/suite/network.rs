//! What readers see while four validators attest a chain, and what they can verify of it.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chaoschain_events::attest::{Board, LocalBoard, sign_attestation};
use chaoschain_query::http::router;
use chaoschain_query::verify::{Agreement, Trust, TrustedHeader, Verified, verify_block, verify_file};
use chaoschain_query::{Ask, At, Finality, Query};
use chaoschain_schemas::{ATTESTATION_VERSION, AccountId, Attestation, Hash, Height, ProofFile};
use chaoschain_society::Society;
use serde_json::{Value as Json, json};

use crate::council::validator_key;
use crate::http::{get, named_by_length};
use crate::node::Node;

/// A node whose board anyone may write on.
struct Network {
    node: Node,
    board: Arc<LocalBoard>,
    router: Router,
}

impl Network {
    async fn start() -> Self {
        let node = Node::start_with(&[0, 1, 2, 3].map(validator_key)).await;
        let board = Arc::new(LocalBoard::open(node.dir().join("board")).unwrap());
        node.projection.follow_board(Arc::clone(&board) as Arc<dyn Board>);
        let router = router(Query::new(node.projection.clone()));
        Self { node, board, router }
    }

    async fn says(&self, validator: u8, height: u64, header_hash: Hash) {
        let key = validator_key(validator);
        let (version, chain) = (ATTESTATION_VERSION, self.node.chain);
        let validator = AccountId::from_first_key(&key.public());
        let word = Attestation { version, chain, validator, height: Height(height), header_hash };
        self.board.publish(sign_attestation(&word, &key)).await.unwrap();
    }

    /// A validator attests the block that is there.
    async fn attests(&self, validator: u8, height: u64) {
        let record = self.node.projection.block_record(Height(height)).unwrap().unwrap();
        self.says(validator, height, record.header_hash).await;
    }

    async fn is_final(&self, height: u64) {
        let mut finalized = self.node.projection.attestations().watch_finalized();
        finalized.wait_for(|point| point.is_some_and(|point| point.height == Height(height))).await.unwrap();
    }

    async fn get(&self, path: &str) -> Json {
        let (status, answer) = get(&self.router, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn refused(&self, path: &str) -> (StatusCode, Json) {
        let (status, answer) = get(&self.router, path).await;
        (status, answer["code"].clone())
    }

    /// Trusts the validators and no producer.
    async fn trust(&self) -> Trust {
        let validators = self.get("/v1/validators").await["value"]["members"].clone();
        serde_json::from_value(json!({ "chain": self.node.chain, "validators": validators })).unwrap()
    }

    async fn stop(self) {
        self.board.close().await;
        self.node.close().await;
    }
}

fn file_of(answer: &Json) -> Vec<u8> {
    STANDARD.decode(answer["proof"].as_str().unwrap()).unwrap()
}

fn header_of(answer: &Json, trust: &Trust) -> TrustedHeader {
    match verify_file(&file_of(answer), trust, Some(&Society)).unwrap() {
        Verified::Read(read) => read.header,
        Verified::Event(event) => event.header,
        other => panic!("{other:?} is evidence"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_is_waited_for_read_and_verified() {
    let network = Network::start().await;
    let trust = network.trust().await;
    let not_final = (StatusCode::SERVICE_UNAVAILABLE, json!("not_finalized"));
    assert_eq!(network.refused("/v1/root?finality=finalized").await, not_final);
    assert_eq!(network.refused("/v1/finality?proof=true").await, not_final);
    assert_eq!(network.get("/v1/finality").await["value"]["finalized"], Json::Null);
    assert_eq!(network.get("/v1/root").await["label"], "producer-signed");

    // Three of four are more than two thirds; the lowest of the three heights is what all of them attest.
    for validator in [0, 1, 2] {
        network.attests(validator, u64::from(validator) + 1).await;
    }
    network.is_final(1).await;
    let alliance = format!("/v1/alliance/{}", network.node.alliance);
    let answer = network.get(&format!("{alliance}?finality=finalized&proof=true")).await;
    assert_eq!((&answer["at"]["height"], &answer["label"]), (&json!(1), &json!("finalized")));
    assert_eq!(answer["value"], Json::Null, "the alliance was formed in block 2");
    let header = header_of(&answer, &trust);
    assert_eq!(header.agreement(), Agreement::Finalized { weight: 3, total: 4 });
    assert_eq!(json!(header.at()), answer["at"]);

    // What is newer is not final, has no proof of that, and does not verify by validators alone.
    let newest = network.get(&format!("{alliance}?proof=true")).await;
    assert_eq!((&newest["at"]["height"], &newest["label"]), (&json!(3), &json!("producer-signed")));
    let error = verify_file(&file_of(&newest), &trust, Some(&Society)).unwrap_err();
    assert_eq!(error.code(), "finality_missing");
    assert_eq!(network.refused("/v1/root?finality=finalized&at_height=3&patience_ms=0").await, not_final);
    assert_eq!(network.refused("/v1/blocks/2?finality=finalized").await.1, "block_unknown");

    // Who waits for a final height is answered when it is.
    let query = Query::new(network.node.projection.clone());
    let ask = Ask { at: At::AtLeast(Height(2)), finality: Finality::Finalized, ..Ask::default() };
    let waiting = tokio::spawn(async move { query.read("root", &[], &ask).await });
    network.attests(0, 2).await;
    assert_eq!(waiting.await.unwrap().unwrap().at.height, Height(2));
    network.attests(0, 3).await;
    network.attests(1, 3).await;
    network.is_final(3).await;

    // Everything older is final by its descendants, and proves it.
    for (path, height) in [
        ("/v1/events/0/0", 0),
        ("/v1/events/2/1", 2),
        ("/v1/blocks/1", 1),
        ("/v1/header/2", 2),
        ("/v1/root", 3),
        ("/v1/root?at_height=2", 2),
        ("/v1/finality", 3),
        ("/v1/status", 3),
    ] {
        let path = format!("{path}{}proof=true", if path.contains('?') { '&' } else { '?' });
        let header = header_of(&network.get(&path).await, &trust);
        assert_eq!(header.at().height, Height(height), "{path}");
        assert_eq!(header.agreement(), Agreement::Finalized { weight: 3, total: 4 }, "{path}");
    }
    // A block's file verifies with the proof of finality from beside it.
    let finality =
        ProofFile::decode(&file_of(&network.get("/v1/header/2?proof=true").await)).unwrap().finality;
    let message = network.node.projection.block_message(Height(2)).await.unwrap().unwrap();
    let block = verify_block(&message, finality.as_ref(), &trust).unwrap();
    assert_eq!(block.header.agreement(), Agreement::Finalized { weight: 3, total: 4 });
    let other = network.node.projection.block_message(Height(1)).await.unwrap().unwrap();
    assert_eq!(
        verify_block(&other, finality.as_ref(), &trust).unwrap_err().code(),
        "finality_not_descendant"
    );
    network.stop().await;
}

/// It follows the newest head, whatever is final.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_models_answer_is_not_called_final() {
    let network = Network::start().await;
    for validator in [0, 1, 2] {
        network.attests(validator, 3).await;
    }
    network.is_final(3).await;
    assert_eq!(network.get("/v1/root").await["label"], "finalized");
    assert_eq!(network.get("/v1/models/leaderboard").await["label"], "producer-signed");
    let refused = network.refused("/v1/models/leaderboard?finality=finalized").await;
    assert_eq!(refused, (StatusCode::BAD_REQUEST, json!("argument_wrong")));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_validators_look_so() {
    let network = Network::start().await;
    // What stands on the board is read in order, so the last word tells that all were heard.
    network.says(3, 2, Hash::new([1; 32])).await;
    network.says(3, 2, Hash::new([2; 32])).await;
    for (validator, height) in [(0, 2), (1, 2), (2, 3)] {
        network.attests(validator, height).await;
    }
    network.is_final(2).await;
    let mut shown = Vec::new();
    for path in ["/v1/finality", "/v1/blocks/1", "/v1/blocks/3", "/v1/validators"] {
        let mut answer = network.get(path).await;
        for bulk in ["transactions", "header"] {
            answer["value"].as_object_mut().unwrap().remove(bulk);
        }
        named_by_length(&mut answer);
        shown.push(format!("GET {path}\n{answer:#}"));
    }
    insta::assert_snapshot!(shown.join("\n\n"));
    network.stop().await;
}
