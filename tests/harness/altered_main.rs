//! The chaoschain binary, altered, for tests of what other nodes and people make of such a node.
//!
//! - `CHAOSCHAIN_TEST_FAULT=HEIGHT:ACCOUNT`: at that height it computes the reputation of that agent wrong.
//! - `CHAOSCHAIN_TEST_RULES=VERSION`: it knows the rules up to that version, as an older build does.

use std::process::ExitCode;
use std::sync::Arc;

use chaoschain_schemas::society::Agent;
use chaoschain_schemas::{AccountId, CodecError, Fixed, Height, Timestamp};
use chaoschain_society::{Leaderboard, Society, keys};
use chaoschain_state::domain::{BlockContext, KindSpec, Machine, MachineEvent, ReadError, ReadSpec};
use chaoschain_state::{Changes, Key, Rejection, View};
use serde_json::Value as Json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The society, but for one record or its newest rules.
struct Altered {
    fault: Option<(Height, AccountId)>,
    rules: u16,
}

impl Altered {
    fn by_environment() -> Option<Self> {
        let text = |name| std::env::var(name).ok();
        let rules = Machine::rules(&Society);
        if let Some(version) = text("CHAOSCHAIN_TEST_RULES") {
            return Some(Self {
                fault: None,
                rules: version.parse().ok().filter(|version| *version <= rules)?,
            });
        }
        let fault = text("CHAOSCHAIN_TEST_FAULT")?;
        let (height, agent) = fault.split_once(':')?;
        Some(Self { fault: Some((Height(height.parse().ok()?), agent.parse().ok()?)), rules })
    }
}

impl Machine for Altered {
    fn begin_block(&self, block: &BlockContext, changes: &mut Changes<'_>) {
        Society.begin_block(block, changes);
        let Some((height, agent)) = self.fault else { return };
        let key = keys::agent(&agent);
        if block.height == height
            && let Some(agent) = changes.view().record::<Agent>(&key)
        {
            changes.put(&key, &Agent { reputation: Fixed::ONE, ..agent });
        }
    }

    fn id(&self) -> &'static str {
        Society.id()
    }

    fn rules(&self) -> u16 {
        self.rules
    }

    fn sub_trees(&self) -> &'static [&'static str] {
        Society.sub_trees()
    }

    fn kinds(&self) -> &'static [KindSpec] {
        Society.kinds()
    }

    fn reads(&self) -> &'static [ReadSpec] {
        Society.reads()
    }

    fn default_parameters(&self) -> Vec<u8> {
        Society.default_parameters()
    }

    fn parameters_from_json(&self, json: &Json) -> Result<Vec<u8>, String> {
        Society.parameters_from_json(json)
    }

    fn parameters_to_json(&self, bytes: &[u8]) -> Result<Json, CodecError> {
        Society.parameters_to_json(bytes)
    }

    fn check_parameters(&self, rules: u16, bytes: &[u8]) -> Result<(), CodecError> {
        Machine::check_parameters(&Society, rules, bytes)
    }

    fn next_due(&self, view: &dyn View) -> Option<Timestamp> {
        Machine::next_due(&Society, view)
    }

    fn execute(
        &self,
        event: &MachineEvent<'_>,
        changes: &mut Changes<'_>,
        dry: bool,
    ) -> Result<(), Rejection> {
        Society.execute(event, changes, dry)
    }

    fn transition_to_json(&self, kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
        Machine::transition_to_json(&Society, kind, payload)
    }

    fn transition_from_json(&self, kind: u16, json: &Json) -> Result<Vec<u8>, String> {
        Machine::transition_from_json(&Society, kind, json)
    }

    fn parties(&self, kind: u16, payload: &[u8], author: &AccountId) -> Result<Vec<AccountId>, CodecError> {
        Machine::parties(&Society, kind, payload, author)
    }

    fn likely_reads(&self, kind: u16, payload: &[u8], author: &AccountId, keys: &mut Vec<Key>) {
        Machine::likely_reads(&Society, kind, payload, author, keys);
    }

    fn record_to_json(&self, key: &Key, value: &[u8]) -> Option<Json> {
        Machine::record_to_json(&Society, key, value)
    }

    fn read(
        &self,
        name: &str,
        arguments: &[String],
        now: Timestamp,
        view: &dyn View,
    ) -> Result<Json, ReadError> {
        Machine::read(&Society, name, arguments, now, view)
    }
}

fn main() -> ExitCode {
    let Some(machine) = Altered::by_environment() else {
        eprintln!(
            "CHAOSCHAIN_TEST_FAULT=HEIGHT:ACCOUNT or CHAOSCHAIN_TEST_RULES=VERSION says how this program is altered"
        );
        return ExitCode::from(2);
    };
    chaoschain_cli::run(chaoschain_cli::App {
        name: "chaoschain",
        machine: Arc::new(machine),
        models: || vec![Box::new(Leaderboard::default())],
    })
}
