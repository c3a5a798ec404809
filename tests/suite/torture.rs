//! Faults at random under load: whatever an outside client holds a receipt for is there in the end, once.
//!
//! The short run belongs to the tests. `CHAOSCHAIN_TORTURE_SECONDS` makes it as long as one likes (`just torture`), and
//! `CHAOSCHAIN_SEED` repeats the same order of faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_schemas::{AccountId, Blob, ChainId, Fixed, TransitionId};
use chaoschain_test_support::Proxy;
use chaoschain_test_support::nats::Cluster;

use crate::harness::audit::audit;
use crate::harness::network::{Member, Network, Shape};
use crate::harness::{Author, Node, PATIENCE, Random, receipt};

/// How long the short run puts faults in, seconds.
const SECONDS_DEFAULT: u64 = 25;
/// Clients of the load, each with its own authors.
const CLIENTS: u64 = 4;
const AUTHORS_OF_CLIENT: u64 = 8;
/// Transitions of one author in one request: fewer than the mempool takes.
const TURN: usize = 8;

/// One process under fire. Whoever wants to talk to it finds it running or not.
struct Target {
    name: String,
    member: Member,
    node: Mutex<Option<Node>>,
    /// Where it listens, for clients; empty while it does not.
    url: Mutex<String>,
}

impl Target {
    fn new(name: String, member: Member) -> Self {
        let this = Self { name, member, node: Mutex::default(), url: Mutex::default() };
        this.start();
        this
    }

    fn start(&self) {
        let node = self.member.up();
        self.url.lock().unwrap().clone_from(&node.url);
        *self.node.lock().unwrap() = Some(node);
    }

    fn kill(&self) {
        self.url.lock().unwrap().clear();
        let node = self.node.lock().unwrap().take();
        node.expect("it runs").kill();
    }

    fn signal(&self, signal: &str) {
        let pid = self.node.lock().unwrap().as_ref().expect("it runs").pid().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

/// The load and everything it has heard.
struct Load {
    urls: Vec<Arc<Target>>,
    stop: AtomicBool,
    receipts: Mutex<BTreeMap<TransitionId, Receipt>>,
    /// Requests that were not answered with receipts, by what they were answered with.
    setbacks: Mutex<BTreeMap<String, u64>>,
    sent: AtomicU64,
}

impl Load {
    /// Submits turn after turn; each until all of it has receipts, with the same bytes, to whichever service is there.
    fn drive(&self, chain: ChainId, client: u64, seed: u64) {
        let mut random = Random(seed);
        let base = client * AUTHORS_OF_CLIENT;
        let mut authors: Vec<_> =
            (0..AUTHORS_OF_CLIENT).map(|number| Author::new(chain, base + number)).collect();
        let registrations: Vec<_> = authors.iter_mut().map(Author::register).collect();
        self.insist(&registrations, &mut random);
        let subject: AccountId = authors[0].id;
        while !self.stop.load(Ordering::Acquire) {
            let place = 1 + random.below(AUTHORS_OF_CLIENT - 1) as usize;
            let turn: Vec<_> = (0..TURN)
                .map(|_| {
                    let rating = Fixed::from_millionths(random.below(1_000_000).cast_signed());
                    authors[place].sign(&ReputationUpdate { subject, rating })
                })
                .collect();
            self.insist(&turn, &mut random);
        }
    }

    fn insist(&self, turn: &[(TransitionId, Blob)], random: &mut Random) {
        let mut open: Vec<_> = turn.to_vec();
        let agent = agent();
        let started = Instant::now();
        while !open.is_empty() {
            assert!(started.elapsed() < PATIENCE, "a turn was not answered");
            let target = &self.urls[random.below(self.urls.len() as u64) as usize];
            let url = target.url.lock().unwrap().clone();
            if url.is_empty() {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let envelopes: Vec<Blob> = open.iter().map(|(_, envelope)| envelope.clone()).collect();
            self.sent.fetch_add(envelopes.len() as u64, Ordering::Relaxed);
            let Some(outcomes) = crate::harness::submit(&agent, &url, &envelopes) else {
                self.set_back("no answer");
                continue;
            };
            let mut receipts = self.receipts.lock().unwrap();
            let mut next = Vec::new();
            for (item, outcome) in open.into_iter().zip(&outcomes) {
                match receipt(outcome) {
                    Ok(receipt) => {
                        assert_eq!(receipt.id, item.0);
                        let known = receipts.insert(item.0, receipt);
                        assert!(known.is_none_or(|known| known == receipt), "two receipts for {}", item.0);
                    }
                    Err(code) => {
                        let error = outcome.error.as_ref().unwrap();
                        // A nonce is ahead when the one before it was not answered.
                        let passes = error.retry_after_ms.is_some() || code == "nonce_ahead";
                        assert!(passes, "{} was refused: {error:?}", item.0);
                        self.set_back(code);
                        next.push(item);
                    }
                }
            }
            drop(receipts);
            if !next.is_empty() {
                std::thread::sleep(Duration::from_millis(20));
            }
            open = next;
        }
    }

    fn set_back(&self, what: &str) {
        *self.setbacks.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }
}

fn agent() -> ureq::Agent {
    crate::harness::agent(Duration::from_secs(20))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillCommand,
    KillQuery,
    KillServer,
    KillAllServers,
    PauseCommand,
    PauseQuery,
    PauseServer,
    CutConnection,
    StallConnection,
}

const FAULTS: [Fault; 9] = [
    Fault::KillCommand,
    Fault::KillServer,
    Fault::CutConnection,
    Fault::KillAllServers,
    Fault::PauseCommand,
    Fault::KillQuery,
    Fault::PauseServer,
    Fault::StallConnection,
    Fault::PauseQuery,
];

#[test]
fn receipts_survive_faults_of_every_kind() {
    let Some(cluster) = Cluster::start() else { return };
    let seconds = std::env::var("CHAOSCHAIN_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT));
    // A pause of ten seconds is for the long run.
    let pause = if span > Duration::from_mins(1) { Duration::from_secs(10) } else { Duration::from_secs(3) };
    let mut random = Random::new("torture");
    let proxy = Proxy::start(cluster.server(0).address());
    let shape = Shape { commands: 2, queries: 2, validators: 0, replicas: 3 };
    let mut network = Network::new(&cluster.urls(), shape);
    let mut targets = Vec::new();
    for (member, number) in std::mem::take(&mut network.commands).into_iter().zip(0..) {
        // The second service reaches the log through something that can be cut.
        let member = if number == 1 { member.through(&proxy.url()) } else { member };
        targets.push(Arc::new(Target::new(format!("command {number}"), member)));
    }
    let commands = targets.clone();
    let queries: Vec<_> = std::mem::take(&mut network.queries)
        .into_iter()
        .zip(0..)
        .map(|(member, number)| Target::new(format!("query {number}"), member))
        .collect();
    let load = Load {
        urls: commands.clone(),
        stop: AtomicBool::new(false),
        receipts: Mutex::default(),
        setbacks: Mutex::default(),
        sent: AtomicU64::new(0),
    };
    let mut counts: BTreeMap<Fault, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (load, chain, seed) = (&load, network.chain, random.0 ^ (client + 1));
            scope.spawn(move || load.drive(chain, client, seed));
        }
        // Faults are for a load that runs.
        while load.receipts.lock().unwrap().len() < 500 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let started = Instant::now();
        let mut turn = 0;
        while started.elapsed() < span || turn < FAULTS.len() {
            // Each kind once, then whatever comes.
            let fault = match FAULTS.get(turn) {
                Some(fault) => *fault,
                None => FAULTS[random.below(FAULTS.len() as u64) as usize],
            };
            turn += 1;
            eprintln!("torture: {:>4} s {fault:?}", started.elapsed().as_secs());
            *counts.entry(fault).or_default() += 1;
            strike(fault, &cluster, &commands, &queries, &proxy, pause, &mut random);
            std::thread::sleep(Duration::from_millis(200 + random.below(800)));
        }
        load.stop.store(true, Ordering::Release);
    });
    let receipts = load.receipts.into_inner().unwrap();
    let setbacks = load.setbacks.into_inner().unwrap();
    eprintln!("torture: {} receipts, faults {counts:?}, setbacks {setbacks:?}", receipts.len());

    // Both replicas come to where the services are, and agree.
    let head = commands.iter().map(|target| running(target, Node::status_height)).max().unwrap();
    let mut roots: Vec<_> =
        queries.iter().map(|target| running(target, |node| node.root_at_least(head))).collect();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{roots:?}");
    for target in commands.iter().map(AsRef::as_ref).chain(&queries) {
        let evidence = std::fs::read_dir(target.member.dir.join("state")).unwrap();
        let evidence: Vec<_> = evidence
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.to_owned()))
            .filter(|name| name.starts_with("evidence") || name.starts_with("fork"))
            .collect();
        assert!(evidence.is_empty(), "{} stopped: {evidence:?}", target.name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let audited = runtime.block_on(async {
        let (_nats, log) = network.log().await;
        audit(log, &network.home.path().join("audit"), &receipts).await
    });
    assert_eq!(roots[0], (audited.height.0, audited.root.to_string()));
    assert!(receipts.len() > 500, "so few receipts show nothing");
    eprintln!("torture: {audited:?}");
}

fn running<T>(target: &Target, ask: impl FnOnce(&Node) -> T) -> T {
    ask(target.node.lock().unwrap().as_ref().expect("it runs"))
}

/// Puts one fault in and takes it away again.
fn strike(
    fault: Fault,
    cluster: &Cluster,
    commands: &[Arc<Target>],
    queries: &[Target],
    proxy: &Proxy,
    pause: Duration,
    random: &mut Random,
) {
    let command = &commands[random.below(commands.len() as u64) as usize];
    let query = &queries[random.below(queries.len() as u64) as usize];
    let server = random.below(3) as usize;
    match fault {
        Fault::KillCommand => {
            command.kill();
            std::thread::sleep(Duration::from_millis(random.below(1000)));
            command.start();
        }
        Fault::KillQuery => {
            query.kill();
            std::thread::sleep(Duration::from_millis(random.below(1000)));
            query.start();
        }
        Fault::KillServer => {
            cluster.server(server).kill();
            std::thread::sleep(Duration::from_millis(500 + random.below(1500)));
            cluster.server(server).restart();
            cluster.await_ready();
        }
        Fault::KillAllServers => {
            cluster.kill_all();
            std::thread::sleep(Duration::from_millis(random.below(1000)));
            cluster.restart_all();
        }
        Fault::PauseCommand => {
            command.signal("-STOP");
            std::thread::sleep(pause);
            command.signal("-CONT");
        }
        Fault::PauseQuery => {
            query.signal("-STOP");
            std::thread::sleep(pause);
            query.signal("-CONT");
        }
        Fault::PauseServer => {
            cluster.server(server).pause();
            std::thread::sleep(pause);
            cluster.server(server).resume();
            cluster.await_ready();
        }
        Fault::CutConnection => {
            proxy.cut();
            std::thread::sleep(pause / 2);
            proxy.heal();
        }
        Fault::StallConnection => {
            proxy.stall();
            std::thread::sleep(pause);
            proxy.flow();
        }
    }
}
