//! The chaoschain binary with one fault: at the height that `CHAOSCHAIN_TEST_FAULT=HEIGHT:ACCOUNT` says, it computes the
//! reputation of that agent wrong. For tests of what other nodes and people make of such a node.

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

/// The society, but for one record.
struct Faulty {
    height: Height,
    agent: AccountId,
}

impl Faulty {
    fn of(text: &str) -> Option<Self> {
        let (height, agent) = text.split_once(':')?;
        Some(Self { height: Height(height.parse().ok()?), agent: agent.parse().ok()? })
    }
}

impl Machine for Faulty {
    fn begin_block(&self, block: &BlockContext, changes: &mut Changes<'_>) {
        Society.begin_block(block, changes);
        let key = keys::agent(&self.agent);
        if block.height == self.height
            && let Some(agent) = changes.view().record::<Agent>(&key)
        {
            changes.put(&key, &Agent { reputation: Fixed::ONE, ..agent });
        }
    }

    fn id(&self) -> &'static str {
        Society.id()
    }

    fn rules(&self) -> u16 {
        Society.rules()
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

    fn check_parameters(&self, bytes: &[u8]) -> Result<(), CodecError> {
        Machine::check_parameters(&Society, bytes)
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
    let fault = std::env::var("CHAOSCHAIN_TEST_FAULT").ok();
    let Some(machine) = fault.as_deref().and_then(Faulty::of) else {
        eprintln!("CHAOSCHAIN_TEST_FAULT=HEIGHT:ACCOUNT says what this program does wrong");
        return ExitCode::from(2);
    };
    chaoschain_cli::run(chaoschain_cli::App {
        name: "chaoschain",
        machine: Arc::new(machine),
        models: || vec![Box::new(Leaderboard::default())],
    })
}
