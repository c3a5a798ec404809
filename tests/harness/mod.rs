//! What the suite is written with: the real binary, authors that sign for themselves, and random numbers from a seed.

pub mod audit;
pub mod network;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chaoschain_events::envelope::{assemble, sign, sign_as};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::api::{BatchOutcome, Receipt};
use chaoschain_schemas::society::{AgentRegistration, Payload, Personality};
use chaoschain_schemas::{AccountId, BODY_VERSION, Blob, Body, ChainId, Timestamp, TransitionId, codec};

pub const BINARY: &str = env!("CARGO_BIN_EXE_chaoschain-under-test");
/// The same, altered as [`Altered`] says.
const ALTERED: &str = env!("CARGO_BIN_EXE_chaoschain-altered");
/// How long anything may take before a test gives up on it. It bounds what hangs; a slow machine is not to meet it.
pub const PATIENCE: Duration = Duration::from_mins(10);
/// How long a node may take to answer a request.
pub const ANSWER_PATIENCE: Duration = Duration::from_mins(2);

/// Runs the binary to its end.
pub fn run(line: &[&str]) -> Output {
    run_with(&[], line)
}

/// [`run`] with variables of the environment.
pub fn run_with(variables: &[(&str, &str)], line: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(line).env_remove("CHAOSCHAIN_DIR").envs(variables.iter().copied());
    command.output().unwrap()
}

/// How a program differs from the one under test; see `altered_main.rs`.
#[derive(Clone, Copy, Debug)]
pub enum Altered {
    /// It computes one record wrong: the reputation of an agent, at a height.
    Faulty(u64, AccountId),
    /// It knows the rules up to a version.
    Older(u16),
}

impl Altered {
    fn command(self) -> Command {
        let mut command = Command::new(ALTERED);
        match self {
            Self::Faulty(height, agent) => command.env("CHAOSCHAIN_TEST_FAULT", format!("{height}:{agent}")),
            Self::Older(rules) => command.env("CHAOSCHAIN_TEST_RULES", rules.to_string()),
        };
        command
    }
}

/// Runs an altered binary to its end.
pub fn run_altered(altered: Altered, line: &[&str]) -> Output {
    altered.command().args(line).env_remove("CHAOSCHAIN_DIR").output().unwrap()
}

/// Runs the binary, which must succeed; its `--json` answer.
pub fn json(line: &[&str]) -> serde_json::Value {
    let output = run(&[line, &["--json"]].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line:?}: {error}: {out}"))
}

/// A node of its own process; killed when dropped.
pub struct Node {
    child: Child,
    pub url: String,
    pub chain: ChainId,
    agent: ureq::Agent,
    /// Where it says that it is ready, and whatever else it says: beside its data, whose disk may be full.
    _said: tempfile::TempDir,
}

impl Node {
    /// Starts a node on `dir` and waits until it serves.
    pub fn up(dir: &Path) -> Self {
        Self::try_up(dir).unwrap_or_else(|(exit, said)| panic!("the node ended with {exit:?}: {said}"))
    }

    /// [`Node::up_with`] nothing more, or answers with what it ended and what it said.
    pub fn try_up(dir: &Path) -> Result<Self, (Option<i32>, String)> {
        Self::try_up_with(dir, &[])
    }

    /// Starts a node on `dir` with further flags and waits until it serves.
    pub fn up_with(dir: &Path, flags: &[&str]) -> Self {
        Self::try_up_with(dir, flags)
            .unwrap_or_else(|(exit, said)| panic!("the node ended with {exit:?}: {said}"))
    }

    /// [`Node::up_with`], or answers with what it ended and what it said.
    pub fn try_up_with(dir: &Path, flags: &[&str]) -> Result<Self, (Option<i32>, String)> {
        Self::try_up_as(Command::new(BINARY), dir, flags)
    }

    /// [`Node::up_with`], of an altered program.
    pub fn up_altered(dir: &Path, flags: &[&str], altered: Altered) -> Self {
        Self::try_up_as(altered.command(), dir, flags)
            .unwrap_or_else(|(exit, said)| panic!("the node ended with {exit:?}: {said}"))
    }

    fn try_up_as(mut command: Command, dir: &Path, flags: &[&str]) -> Result<Self, (Option<i32>, String)> {
        let words = tempfile::tempdir().unwrap();
        let (ready, said) = (words.path().join("ready.json"), words.path().join("stderr.log"));
        let mut child = command
            .args(["up", "--listen", "127.0.0.1:0", "--log-level", "warn", "--dir"])
            .arg(dir)
            .arg("--ready-file")
            .arg(&ready)
            .args(flags)
            .stdout(Stdio::null())
            // A file, not a pipe: nobody reads while the node runs, and it must not wait for a reader.
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let answer = loop {
            let written = std::fs::read_to_string(&ready).unwrap_or_default();
            if let Ok(answer) = serde_json::from_str::<serde_json::Value>(&written) {
                break answer;
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Err((status.code(), std::fs::read_to_string(&said).unwrap()));
            }
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the node did not come up: {}", std::fs::read_to_string(&said).unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text =
            |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
        let url = text("address");
        let agent = agent(ANSWER_PATIENCE);
        Ok(Self { child, url, chain: text("chain").parse().unwrap(), agent, _said: words })
    }

    /// Posts bytes as they are; the status and the JSON answer.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, serde_json::Value) {
        let request = self.agent.post(format!("{}{path}", self.url)).header("content-type", content_type);
        let mut answer = request.send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    /// Reads a path; the status and the JSON answer.
    pub fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    /// The confirmed height and state root.
    pub fn root(&self) -> (u64, String) {
        let (_, answer) = self.get("/v1/root");
        (answer["at"]["height"].as_u64().unwrap(), answer["at"]["state_root"].as_str().unwrap().to_owned())
    }

    /// The newest height, as it says when asked whether it is ready.
    pub fn status_height(&self) -> u64 {
        let (_, answer) = self.get("/readyz");
        answer["height"].as_u64().unwrap_or_else(|| panic!("no height in {answer}"))
    }

    /// Height and state root once the height is reached.
    pub fn root_at_least(&self, height: u64) -> (u64, String) {
        let started = Instant::now();
        loop {
            let (status, answer) = self.get(&format!("/v1/root?min_height={height}&patience_ms=5000"));
            if status == 200 {
                let at = &answer["at"];
                return (at["height"].as_u64().unwrap(), at["state_root"].as_str().unwrap().to_owned());
            }
            assert!(started.elapsed() < PATIENCE, "height {height} was not reached: {answer}");
        }
    }

    /// Submits envelopes together; `None` when the node did not answer, which says nothing about what became of them.
    pub fn submit(&self, envelopes: &[Blob]) -> Option<Vec<BatchOutcome>> {
        submit(&self.agent, &self.url, envelopes)
    }

    /// Submits envelopes until each has a receipt: what the node puts off is sent again, as its clients are told to.
    pub fn accepted(&self, envelopes: &[Blob]) -> Vec<Receipt> {
        let started = Instant::now();
        loop {
            let outcomes = self.submit(envelopes).unwrap_or_default();
            let receipts: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.receipt).collect();
            if receipts.len() == envelopes.len() {
                return receipts;
            }
            // What follows on something that was put off is refused until that has come in.
            let waits = |outcome: &BatchOutcome| {
                let follows = ["nonce_ahead", "account_unknown", "agent_unknown"];
                is_put_off(outcome) || receipt(outcome).is_err_and(|code| follows.contains(&code))
            };
            let open = |outcome: &&BatchOutcome| outcome.receipt.is_none();
            assert!(outcomes.iter().filter(open).all(waits), "{outcomes:?}");
            assert!(started.elapsed() < PATIENCE, "it is put off for ever: {outcomes:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the process as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process in order: everything folded is stored.
    pub fn stop(mut self) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// The process, for whoever kills it while others submit.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An HTTP client that takes refusals for answers and notices a dead node after `patience`.
pub fn agent(patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience));
    config.build().new_agent()
}

/// Submits envelopes together to the node at `url`; `None` when it did not answer, which says nothing about what became of
/// them.
pub fn submit(agent: &ureq::Agent, url: &str, envelopes: &[Blob]) -> Option<Vec<BatchOutcome>> {
    let answer = agent
        .post(format!("{url}/v1/transitions/batch"))
        .header("content-type", "application/msgpack")
        .header("accept", "application/msgpack")
        .send(&codec::encode(envelopes)[..]);
    let mut answer = answer.ok()?;
    if answer.status() != 200 {
        return None;
    }
    Some(codec::decode_trusted(&answer.body_mut().read_to_vec().ok()?).unwrap())
}

/// An author and its next nonce.
pub struct Author {
    key: SecretKey,
    pub id: AccountId,
    nonce: u64,
    chain: ChainId,
}

impl Author {
    pub fn new(chain: ChainId, number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let key = SecretKey::from_seed(&seed);
        Self { id: AccountId::from_first_key(&key.public()), key, nonce: 0, chain }
    }

    /// Signs the author's next transition, valid for some minutes from now.
    pub fn sign<P: Payload>(&mut self, payload: &P) -> (TransitionId, Blob) {
        let body = self.body(payload);
        self.nonce += 1;
        let envelope = sign(&body, &[(self.id, &self.key)]).unwrap();
        (envelope.id(), envelope.bytes().to_vec().into())
    }

    /// The body of the author's next transition, to be changed and signed by hand; the nonce is not used up.
    pub fn body<P: Payload>(&self, payload: &P) -> Body {
        Body {
            version: BODY_VERSION,
            chain: self.chain,
            epoch: 0,
            author: self.id,
            lane: 0,
            nonce: self.nonce,
            valid_until: Timestamp(now().0 + 500_000_000),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind: P::KIND,
            payload: codec::encode(payload).into(),
        }
    }

    /// An envelope of any bytes as a body, right or wrong, signed by the author and then by `others`.
    pub fn envelope(&self, body: &[u8], others: &[&Self]) -> Vec<u8> {
        let parties = [self].into_iter().chain(others.iter().copied());
        assemble(body, parties.map(|party| sign_as(party.id, &party.key, body)).collect())
    }

    pub fn register(&mut self) -> (TransitionId, Blob) {
        self.sign(&AgentRegistration { personality: Personality::Neutral })
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

/// The receipt of an outcome, or the code of its refusal.
pub fn receipt(outcome: &BatchOutcome) -> Result<Receipt, &str> {
    outcome.receipt.ok_or_else(|| outcome.error.as_ref().map_or("neither", |error| &error.code))
}

/// Whether the same bytes are to be sent again later.
pub fn is_put_off(outcome: &BatchOutcome) -> bool {
    outcome.error.as_ref().is_some_and(|error| error.retry_after_ms.is_some())
}

/// Numbers that look random and are the same for a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// Seeded from `CHAOSCHAIN_SEED`, or the clock; says which.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("CHAOSCHAIN_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(now().0);
        eprintln!("{test}: CHAOSCHAIN_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
