//! Bad input, from outside and from below: every refusal has a code, and nothing acknowledged is lost.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog as _};
use chaoschain_schemas::society::{AllianceFormation, AlliancePurpose, AllianceTerms, CustomSet, ReputationUpdate};
use chaoschain_schemas::{
    Blob, ChainId, ControlKey, Expectation, Fixed, Hash, Micros, PublicKey, Purpose, Sequence,
};

use crate::harness::{Author, Node, SmallDisk, code_of, json, receipt, run};
