//! The subcommands, one a file.

pub(crate) mod accounts;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod replay;
pub(crate) mod resync;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod trust;
pub(crate) mod up;
pub(crate) mod verify;
