//! The signed formats, frozen: a small chain of the society, made from fixed seeds, byte by byte.
//!
//! `schemas/golden/{transition,genesis,block,proof}.json` are what another implementation has to reproduce; the test of
//! the same name in `schemas` reads them back without signatures. A difference here is a change of format or of rules.
//! When one is meant, run this test with `CHAOSCHAIN_GOLDEN=write` and read the difference.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use chaoschain_events::block::{VerifiedBlock, events_root, genesis_events_root, seal, seal_genesis};
use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::api::{BatchOutcome, BatchSubmission, ErrorBody, ReadPoint, Receipt, Submission};
use chaoschain_schemas::control::{
    AccountRegistration, GENESIS_VERSION, Genesis, GenesisAccount, KeyRotation, ParameterChange, Parameters,
    Registration, Role, RoleGrant, Schedule, Scheduled, Suspension, kind,
};
use chaoschain_schemas::society::{
    AgentRegistration, AllianceFormation, AlliancePurpose, AllianceTerms, Benefit, Payload, Personality,
    PurposeKind, ReputationUpdate,
};
use chaoschain_schemas::{
    ATTESTATION_VERSION, AccountId, Attachment, Attestation, AttestedHeader, BODY_VERSION, Body, ChainId,
    CorrelationId, EquivocationProof, EventAddress, EventProof, Expectation, FinalityProof, Fixed, ForkProof,
    HEADER_VERSION, Hash, Header, Height, Micros, NameHash, ProofFile, ProvenRecord, Purpose, ReadProof,
    SignedAttestation, SigningContext, SubTreeProof, Timestamp, codec,
};
use chaoschain_society::{Society, keys as society_keys};
use chaoschain_state::control::{self, SignedTransition};
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{Lookup, Pruned, blocks as header_tree, prove_entry, value_hash};
use chaoschain_state::{BaseView, Changes, Forest, Key, Recording, StateVersion, Value};
use serde::Serialize;
use serde_json::{Value as Json, json};

const START: Timestamp = Timestamp(1_700_000_000_000_000);
const NAMES: [(&str, u8); 6] =
    [("ana", 1), ("bob", 2), ("cleo", 3), ("ana's second", 4), ("validator", 8), ("producer", 9)];

fn key(name: &str) -> SecretKey {
    let (_, seed) = NAMES.iter().find(|(known, _)| *known == name).unwrap();
    SecretKey::from_seed(&[*seed; 32])
}

fn id(name: &str) -> AccountId {
    AccountId::from_first_key(&key(name).public())
}

fn genesis() -> Genesis {
    let account =
        |name, role, weight| GenesisAccount { key: key(name).public(), role, weight, sponsorships: 0 };
    let mut accounts = vec![
        account("ana", Role::Member, 0),
        account("producer", Role::Producer, 1),
        account("validator", Role::Validator, 2),
    ];
    accounts.sort_by_key(|account| account.key);
    Genesis {
        version: GENESIS_VERSION,
        name: "golden".into(),
        domain: Society.id().into(),
        rules: 1,
        sub_trees: Society.sub_trees().iter().map(|name| (*name).to_owned()).collect(),
        timestamp: START,
        parameters: Parameters::default(),
        domain_parameters: Society.default_parameters().into(),
        accounts,
    }
}

/// The chain as far as it was made.
struct Chain {
    id: ChainId,
    forest: Forest,
    states: Vec<Arc<StateVersion>>,
    blocks: Vec<VerifiedBlock>,
}

impl Chain {
    fn begin() -> Self {
        let genesis = genesis();
        let (document, id) = genesis.encode();
        let nothing = std::collections::BTreeMap::<Key, Value>::new();
        let mut changes = Changes::new(&nothing);
        control::apply_genesis(&genesis, &mut changes);
        let mut forest = Forest::new(Society.sub_trees().len());
        let state = forest.apply(&changes.into_changes(), None).unwrap();
        let header = Header {
            version: HEADER_VERSION,
            chain: id,
            epoch: 0,
            rules: 1,
            height: Height::GENESIS,
            parent: Hash::ZERO,
            timestamp: START,
            producer: id_of_producer(),
            event_count: 1,
            events_root: genesis_events_root(&document),
            state_root: state.root(),
            sub_roots: state.sub_roots().to_vec(),
        };
        let block = seal_genesis(header, document.into(), &key("producer")).unwrap();
        Self { id, forest, states: vec![state], blocks: vec![block] }
    }

    fn state(&self) -> &Arc<StateVersion> {
        self.states.last().unwrap()
    }

    /// Seals `events` one `step` after the newest block, by the rules.
    fn extend(&mut self, step: Micros, events: Vec<VerifiedEnvelope>) {
        let parent = self.blocks.last().unwrap();
        let (height, hash) = (parent.header().height.next(), parent.header_hash());
        let now = parent.header().timestamp.saturating_add(step);
        let before = Arc::clone(self.state());
        let context = control::block_context(&Society, &*before, self.id, height, hash, now).unwrap();
        let mut changes = Changes::new(&*before);
        for (index, event) in (0..).zip(&events) {
            let transition =
                SignedTransition { id: event.id(), body: event.body(), parties: event.parties() };
            let address = EventAddress { height, index };
            control::execute(&Society, &context, &mut changes, address, &transition, false).unwrap();
        }
        let state = self.forest.apply(&changes.into_changes(), Some(hash)).unwrap();
        let header = Header {
            version: HEADER_VERSION,
            chain: self.id,
            epoch: context.epoch,
            rules: context.rules,
            height,
            parent: hash,
            timestamp: now,
            producer: id_of_producer(),
            event_count: events.len() as u32,
            events_root: events_root(&events),
            state_root: state.root(),
            sub_roots: state.sub_roots().to_vec(),
        };
        self.states.push(state);
        self.blocks.push(seal(header, events, &key("producer")).unwrap());
    }

    fn body<P: Serialize>(&self, author: &str, nonce: u64, kind: u16, payload: &P) -> Body {
        Body {
            version: BODY_VERSION,
            chain: self.id,
            epoch: 0,
            author: id(author),
            lane: 0,
            nonce,
            valid_until: START.saturating_add(Micros::from_secs(300)),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: vec![],
            attachment: None,
            kind,
            payload: codec::encode(payload).into(),
        }
    }

    fn register(&self, author: &str, nonce: u64, personality: Personality) -> VerifiedEnvelope {
        let payload = AgentRegistration { personality };
        let body = self.body(author, nonce, AgentRegistration::KIND, &payload);
        sign(&body, &[(id(author), &key(author))]).unwrap()
    }
}

fn id_of_producer() -> AccountId {
    id("producer")
}

const SALT: [u8; 16] = [0x5a; 16];
const ATTACHED: &[u8] = b"a payload beside the log";

fn attachment() -> Attachment {
    let commitment = Purpose::Attachment.hash(&[&SALT[..], ATTACHED].concat());
    Attachment { commitment, size: ATTACHED.len() as u64 }
}

/// A body that uses every field, agreed to by three.
fn alliance(chain: &Chain) -> VerifiedEnvelope {
    let payload = AllianceFormation {
        members: vec![id("ana"), id("bob"), id("cleo")],
        purpose: AlliancePurpose::of(PurposeKind::MemePromotion),
        terms: AllianceTerms {
            duration: Micros::from_secs(86_400),
            benefits: vec![Benefit::DramaBoost],
            conditions: vec!["share every template".into()],
        },
        exclusive: true,
    };
    let (there, not_there) =
        (society_keys::agent(&id("bob")), society_keys::relationship(&id("bob"), &id("ana")));
    let bob = chain.state().tree(there.sub_tree()).unwrap().get(there.as_bytes()).unwrap();
    let expect =
        |key: &Key, value| Expectation { sub_tree: key.sub_tree(), key: key.as_bytes().into(), value };
    let body = Body {
        lane: 3,
        occurred_at: Some(Timestamp(1_699_999_999_000_000)),
        correlation: Some(CorrelationId::new([0xc0; 16])),
        causation: Some(chain.blocks[1].events()[0].id()),
        expects: vec![expect(&there, Some(value_hash(&bob))), expect(&not_there, None)],
        attachment: Some(attachment()),
        ..chain.body("ana", 0, AllianceFormation::KIND, &payload)
    };
    let signers = ["ana", "bob", "cleo"].map(|name| (id(name), key(name)));
    let signers: Vec<_> = signers.iter().map(|(id, key)| (*id, key)).collect();
    sign(&body, &signers).unwrap()
}

fn whole_chain() -> Chain {
    let mut chain = Chain::begin();
    let account = chain.body("cleo", 0, kind::ACCOUNT_REGISTRATION, &AccountRegistration {});
    let events = vec![
        chain.register("bob", 0, Personality::Chaotic),
        sign(&account, &[(id("cleo"), &key("cleo"))]).unwrap(),
        chain.register("ana", 0, Personality::Lawful),
        chain.register("cleo", 1, Personality::Dramatic),
    ];
    chain.extend(Micros::from_secs(1), events);
    let new_key = key("ana's second").public();
    let rotation = chain.body("ana", 1, kind::KEY_ROTATION, &KeyRotation { new_key });
    let rating = ReputationUpdate { subject: id("ana"), rating: Fixed::from_millionths(-250_000) };
    let rating = chain.body("bob", 1, ReputationUpdate::KIND, &rating);
    let events = vec![
        alliance(&chain),
        sign(&rotation, &[(id("ana"), &key("ana")), (id("ana"), &key("ana's second"))]).unwrap(),
        sign(&rating, &[(id("bob"), &key("bob"))]).unwrap(),
    ];
    chain.extend(Micros::from_secs(2), events);
    // A heartbeat: no events, the same time.
    chain.extend(Micros(0), vec![]);
    chain
}

/// A value with both its forms.
fn vector<T: Serialize>(name: &str, of: &str, value: &T) -> Json {
    json!({ "name": name, "type": of, "json": value, "hex": hex::encode(codec::encode(value)) })
}

fn foundations() -> Vec<Json> {
    let purposes = Purpose::ALL.into_iter().map(|(purpose, word)| {
        let (key, empty, abc) = (hex::encode(purpose.key()), purpose.hash(b""), purpose.hash(b"abc"));
        json!({ "name": format!("purpose {word}"), "type": "purpose", "word": word, "key": key, "of_nothing": empty, "of_abc": abc })
    });
    let tags = [
        ("transition", SigningContext::Transition),
        ("header", SigningContext::Header),
        ("attestation", SigningContext::Attestation),
    ];
    let tags = tags.map(|(word, context)| {
        json!({ "name": format!("signing tag {word}"), "type": "tag", "word": word, "hex": hex::encode(context.tag()) })
    });
    let keys = NAMES.map(|(name, seed)| {
        let (public, account) = (key(name).public(), id(name));
        json!({ "name": format!("key of {name}"), "type": "key", "seed": hex::encode([seed; 32]), "public": public, "account": account })
    });
    let name =
        json!({ "name": "name hash", "type": "name", "text": "profile", "hash": NameHash::of(b"profile") });
    let attached = json!({
        "name": "attachment", "type": "attachment", "salt": hex::encode(SALT), "payload": hex::encode(ATTACHED),
        "json": attachment(),
    });
    purposes.chain(tags).chain(keys).chain([name, attached]).collect()
}

fn envelope(name: &str, event: &VerifiedEnvelope) -> [Json; 2] {
    let body = event.body();
    let mut signed = vector(&format!("body: {name}"), "Body", body);
    signed["payload"] = control::transition_to_json(&Society, body.kind, &body.payload).unwrap();
    signed["id"] = json!(event.id());
    let whole = json!({
        "name": format!("envelope: {name}"), "type": "Envelope", "body": hex::encode(event.body_bytes()),
        "signatures": event.parties(), "hex": hex::encode(event.bytes()), "value_hash": event.value_hash(),
    });
    [signed, whole]
}

/// What validators decide, and how it waits.
fn decisions() -> Vec<Json> {
    let (account, at) = (id("ana"), Height(1000));
    let grant = RoleGrant { account, role: Role::Producer, weight: 3, sponsorships: 7, at };
    let suspension = Suspension { account, suspended: true, reason: "its key was stolen".into() };
    let kernel =
        Parameters { registration: Registration::Sponsored, author_events_max: 100, ..Parameters::default() };
    let change = ParameterChange {
        at: Height(2000),
        kernel: Some(kernel),
        domain: Some(vec![0x90].into()),
        rules: Some(2),
        reason: "everybody has upgraded".into(),
    };
    let rules = ParameterChange { kernel: None, domain: None, ..change.clone() };
    let scheduled = |at, index, kind, payload: Vec<u8>| Scheduled {
        at,
        event: EventAddress { height: Height(9), index },
        kind,
        payload: payload.into(),
    };
    let schedule = Schedule {
        changes: vec![
            scheduled(at, 1, kind::ROLE_GRANT, codec::encode(&grant)),
            scheduled(change.at, 0, kind::PARAMETER_CHANGE, codec::encode(&rules)),
        ],
    };
    vec![
        vector("payload 3 RoleGrant", "RoleGrant", &grant),
        vector("payload 4 Suspension", "Suspension", &suspension),
        vector("payload 5 ParameterChange", "ParameterChange", &change),
        vector("payload 5 ParameterChange, the rules alone", "ParameterChange", &rules),
        vector("schedule", "Schedule", &schedule),
    ]
}

fn transitions(chain: &Chain) -> Vec<Json> {
    let mut vectors = foundations();
    let registration =
        vector("payload 1 AccountRegistration", "AccountRegistration", &AccountRegistration {});
    let new_key = key("ana's second").public();
    vectors.extend([registration, vector("payload 2 KeyRotation", "KeyRotation", &KeyRotation { new_key })]);
    vectors.extend(decisions());
    let (first, second) = (&chain.blocks[1], &chain.blocks[2]);
    vectors.extend(envelope("one signature, no optional field", &first.events()[0]));
    vectors.extend(envelope("a registration with no payload field", &first.events()[1]));
    vectors.extend(envelope("every field, three signatures", &second.events()[0]));
    vectors.extend(envelope("a key rotation: both keys sign", &second.events()[1]));
    vectors.extend(envelope("a negative score", &second.events()[2]));
    let event = &first.events()[0];
    let receipt = Receipt { id: event.id(), height: Height(1), index: 0, header_hash: first.header_hash() };
    vectors.push(vector("receipt", "Receipt", &receipt));
    let blob: chaoschain_schemas::Blob = event.bytes()[..].into();
    vectors.push(
        json!({ "name": "submission", "type": "Submission", "json": Submission { envelope: blob.clone() } }),
    );
    let batch = BatchSubmission { envelopes: vec![blob] };
    let binary = hex::encode(codec::encode(&batch.envelopes));
    vectors.push(json!({ "name": "batch", "type": "BatchSubmission", "json": batch, "hex": binary }));
    let error =
        |retry_after_ms| ErrorBody { code: "busy".into(), message: "try again".into(), retry_after_ms };
    vectors.push(vector("refusal", "ErrorBody", &error(Some(100))));
    let outcomes = vec![
        BatchOutcome { receipt: Some(receipt), error: None },
        BatchOutcome { receipt: None, error: Some(error(Some(100))) },
    ];
    vectors.push(vector("outcomes of a batch", "Vec<BatchOutcome>", &outcomes));
    vectors
}

fn block(name: &str, block: &VerifiedBlock) -> [Json; 2] {
    let signed = block.signed_header();
    let mut header = vector(&format!("header: {name}"), "Header", block.header());
    header["hash"] = json!(block.header_hash());
    let genesis = block.genesis().map(|(_, document)| hex::encode(document));
    let events: Vec<_> =
        block.events().iter().map(|event| hex::encode(event.bytes())).chain(genesis).collect();
    let sealed = json!({
        "name": format!("block: {name}"), "type": "SealedBlock", "header": hex::encode(&*signed.header), "key": signed.key,
        "signature": signed.signature, "events": events, "hex": hex::encode(block.message()),
    });
    [header, sealed]
}

/// Every record of a state, and the roots over them.
fn state(name: &str, state: &StateVersion) -> Vec<Json> {
    let numbers = 0..state.sub_roots().len() as u8;
    let kept = numbers.filter_map(|number| Some((number, state.tree(number)?)));
    let records = kept.flat_map(|(number, tree)| tree.iter().map(move |(key, value)| (number, key, value)));
    let records = records.map(|(sub_tree, key, value)| {
        let shown = control::record_to_json(&Society, &Key::from_bytes(sub_tree, &key).unwrap(), &value);
        json!({
            "name": format!("record: {name}"), "type": "record", "sub_tree": sub_tree, "key": hex::encode(&key),
            "json": shown.unwrap(), "hex": hex::encode(&value), "value_hash": value_hash(&value),
        })
    });
    let roots = json!({
        "name": format!("roots: {name}"), "type": "roots", "sub_roots": state.sub_roots(), "state_root": state.root(),
    });
    records.chain([roots]).collect()
}

fn beginning(chain: &Chain) -> Vec<Json> {
    let (document, id) = genesis().encode();
    let mut first = vector("genesis document", "Genesis", &genesis());
    first["chain"] = json!(id);
    first["events_root"] = json!(genesis_events_root(&document));
    let mut vectors = vec![first];
    vectors.extend(block("block 0", &chain.blocks[0]));
    vectors.extend(state("after block 0", &chain.states[0]));
    vectors
}

fn blocks(chain: &Chain) -> Vec<Json> {
    let mut vectors = Vec::new();
    for (height, sealed) in chain.blocks.iter().enumerate().skip(1) {
        vectors.extend(block(&format!("block {height}"), sealed));
    }
    vectors.extend(state("after block 3", chain.state()));
    let hashes: Vec<_> = chain.blocks.iter().map(VerifiedBlock::header_hash).collect();
    vectors.push(json!({ "name": "headers that the blocks root of block 3 covers", "type": "blocks", "header_hashes": hashes[..3] }));
    vectors
}

/// A read of the newest state with its proof, as a query node makes it: the file, the answer, and what to call it.
fn read_file(chain: &Chain, name: &str, arguments: &[&str]) -> (ProofFile, Json, String) {
    let (state, newest) = (chain.state(), chain.blocks.last().unwrap());
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let recording = Recording::new(&**state);
    let view = BaseView::new(&recording);
    let answer = control::read(&Society, name, &arguments, newest.header().timestamp, &view).unwrap();
    let mut keys = recording.into_reads().keys;
    keys.sort_unstable();
    keys.dedup();
    let part = |keys: &[Key]| {
        let (sub_tree, bytes) = (keys[0].sub_tree(), keys.iter().map(Key::as_bytes).collect::<Vec<_>>());
        let tree = state.tree(sub_tree).unwrap();
        let found = bytes.iter().filter_map(|key| {
            tree.get(key).map(|value| ProvenRecord { key: (*key).into(), value: (*value).into() })
        });
        let records = found.collect();
        let proof = tree.prove(&bytes);
        let pruned = Pruned::parse(&proof).unwrap();
        assert_eq!(pruned.root(), newest.header().sub_roots[usize::from(sub_tree)]);
        assert!(bytes.iter().all(|key| pruned.get(key) != Lookup::Pruned));
        SubTreeProof { sub_tree, tree: proof.into(), records }
    };
    let sub_trees = keys.chunk_by(|a, b| a.sub_tree() == b.sub_tree()).map(part).collect();
    let header = newest.signed_header();
    let title = format!("read: {name}{}", if answer.is_null() { ", absent" } else { "" });
    let file = ProofFile::of_read(ReadProof { header, read: name.to_owned(), arguments, sub_trees });
    (file, answer, title)
}

fn read(chain: &Chain, name: &str, arguments: &[&str]) -> Json {
    let (file, answer, title) = read_file(chain, name, arguments);
    let mut vector = vector(&title, "ProofFile", &file);
    vector["answer"] = answer;
    vector
}

fn event_file(block: &VerifiedBlock, values: &[&[u8]], index: u32) -> ProofFile {
    let entries: Vec<_> =
        (0_u32..).map(u32::to_be_bytes).zip(values.iter().map(|value| value_hash(value))).collect();
    let tree = prove_entry(&entries, index as usize);
    assert_eq!(Pruned::parse(&tree).unwrap().root(), block.header().events_root);
    let envelope = values[index as usize].into();
    let proof = EventProof { header: block.signed_header(), index, envelope, tree: tree.into() };
    ProofFile::of_event(proof)
}

fn event(name: &str, block: &VerifiedBlock, values: &[&[u8]], index: u32) -> Json {
    vector(name, "ProofFile", &event_file(block, values, index))
}

/// The word of a validator that the header of this hash stands at this height.
fn attestation(chain: &Chain, validator: &str, height: u64, header_hash: Hash) -> Attestation {
    Attestation {
        version: ATTESTATION_VERSION,
        chain: chain.id,
        validator: id(validator),
        height: Height(height),
        header_hash,
    }
}

fn attest(validator: &str, attestation: &Attestation) -> SignedAttestation {
    let (key, bytes) = (key(validator), codec::encode(attestation));
    let signature = key.sign(SigningContext::Attestation, &bytes);
    SignedAttestation { attestation: bytes.into(), key: key.public(), signature }
}

/// The header at `height` as `validators` attest it, and its tie to the one at `below`.
fn attested(chain: &Chain, height: u64, validators: &[&str], below: u64) -> AttestedHeader {
    let block = &chain.blocks[height as usize];
    let (mut tiles, mut frontier) = (header_tree::MemoryTiles::default(), header_tree::Frontier::new());
    for older in &chain.blocks[..height as usize] {
        tiles.append(&mut frontier, older.header_hash());
    }
    assert_eq!(frontier.root(), block.header().sub_roots[1]);
    let ancestor =
        if below == height { Vec::new() } else { header_tree::prove(&tiles, &[below], height).unwrap() };
    let word = |name: &&str| attest(name, &attestation(chain, name, height, block.header_hash()));
    let mut attestations: Vec<_> = validators.iter().map(word).collect();
    attestations.sort_by_key(|attestation| attestation.key);
    AttestedHeader { header: block.signed_header().header, ancestor: ancestor.into(), attestations }
}

/// Proofs that validators agree, and that one does not agree with itself.
fn words_of_validators(chain: &Chain, second: &VerifiedBlock, envelopes: &[&[u8]]) -> Vec<Json> {
    let newest = chain.blocks.last().unwrap();
    let both = ["producer", "validator"];
    let at_once = FinalityProof { attested: vec![attested(chain, 3, &both, 3)] };
    let later = FinalityProof {
        attested: vec![attested(chain, 2, &["producer"], 2), attested(chain, 3, &["validator"], 2)],
    };
    let (file, answer, title) = read_file(chain, "agent", &[&id("ana").to_string()]);
    let final_read = file.with_finality(Some(at_once));
    let mut final_read = vector(&format!("{title}, final"), "ProofFile", &final_read);
    final_read["answer"] = answer;
    let final_event = event_file(second, envelopes, 1).with_finality(Some(later));

    let first = attestation(chain, "validator", 3, newest.header_hash());
    let another = Attestation { header_hash: Hash::new([0xab; 32]), ..first.clone() };
    let signed = attest("validator", &first);
    let equivocation = EquivocationProof { first: signed.clone(), second: attest("validator", &another) };
    let sibling =
        Header { timestamp: newest.header().timestamp.saturating_add(Micros(1)), ..newest.header().clone() };
    let theirs = seal(sibling, vec![], &key("producer")).unwrap();
    let fork = ForkProof { ours: newest.signed_header(), theirs: theirs.signed_header() };
    vec![
        vector("attestation", "Attestation", &first),
        vector("attestation, signed", "SignedAttestation", &signed),
        final_read,
        vector("event: the second of block 2, final by block 3", "ProofFile", &final_event),
        vector(
            "equivocation: two hashes at height 3",
            "ProofFile",
            &ProofFile::of_equivocation(equivocation),
        ),
        vector("fork: two blocks at height 3", "ProofFile", &ProofFile::of_fork(fork)),
    ]
}

fn proofs(chain: &Chain) -> Vec<Json> {
    let validator =
        |name, weight: u64| json!({ "account": id(name), "key": key(name).public(), "weight": weight });
    let mut validators = [validator("producer", 1), validator("validator", 2)];
    validators.sort_by_key(|validator| validator["account"].as_str().map(str::to_owned));
    let trust = json!({
        "chain": chain.id, "domain": Society.id(), "producers": [key("producer").public()], "validators": validators,
    });
    let newest = chain.blocks.last().unwrap();
    let header = newest.header();
    let at = ReadPoint {
        chain: chain.id,
        height: header.height,
        header_hash: newest.header_hash(),
        state_root: header.state_root,
        timestamp: header.timestamp,
    };
    let (ana, bob, nobody) = (id("ana").to_string(), id("bob").to_string(), "ee".repeat(32));
    let second = &chain.blocks[2];
    let envelopes: Vec<&[u8]> = second.events().iter().map(|event| &event.bytes()[..]).collect();
    let (document, _) = genesis().encode();
    let mut vectors = vec![
        json!({ "name": "what is trusted", "type": "trust", "json": trust }),
        json!({ "name": "where reads were made", "type": "ReadPoint", "json": at }),
        read(chain, "account", &[&ana]),
        read(chain, "account", &[&nobody]),
        read(chain, "agent", &[&ana]),
        read(chain, "relationship", &[&bob, &ana]),
        read(chain, "relationship", &[&ana, &bob]),
        read(chain, "parameters", &[]),
        event("event: the first of block 2", second, &envelopes, 0),
        event("event: the last of block 2", second, &envelopes, 2),
        event("event: genesis", &chain.blocks[0], &[&document], 0),
    ];
    vectors.extend(words_of_validators(chain, second, &envelopes));
    vectors
}

fn compare(file: &str, vectors: &[Json]) {
    // One vector a line, so that a difference names what it is about.
    let lines: Vec<_> = vectors.iter().map(Json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden").join(file);
    if std::env::var_os("CHAOSCHAIN_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (got, want)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, want, "{file}, line {}", line + 1);
    }
    assert_eq!(text, golden, "{file}: vectors were added or left out");
}

#[test]
fn signed_formats_are_as_they_always_were() {
    let chain = whole_chain();
    compare("transition.json", &transitions(&chain));
    compare("genesis.json", &beginning(&chain));
    compare("block.json", &blocks(&chain));
    compare("proof.json", &proofs(&chain));
    what_is_frozen_verifies();
}

/// The files hold what any node accepts: every signature is verified from the bytes that stand there.
fn what_is_frozen_verifies() {
    let mut verified = 0;
    for file in ["transition.json", "genesis.json", "block.json"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden").join(file);
        let vectors: Vec<Json> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for vector in vectors {
            let bytes = || hex::decode(vector["hex"].as_str().unwrap()).unwrap().into();
            match vector["type"].as_str().unwrap() {
                "Envelope" => drop(VerifiedEnvelope::verify(bytes()).unwrap()),
                "SealedBlock" => drop(VerifiedBlock::verify(bytes()).unwrap()),
                _ => continue,
            }
            verified += 1;
        }
    }
    assert_eq!(verified, 9, "5 envelopes and 4 blocks");
}
