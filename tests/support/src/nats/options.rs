//! How a test wants its servers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How servers are configured; by default as production should be: JetStream that syncs every write.
#[derive(Clone, Debug)]
pub struct Options {
    jetstream: bool,
    sync_always: bool,
    in_jetstream: String,
    config: String,
    pub(super) store_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jetstream: true,
            sync_always: true,
            in_jetstream: String::new(),
            config: String::new(),
            store_dir: None,
        }
    }
}

impl Options {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// A server without JetStream.
    #[must_use]
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// Syncs every two minutes, as nats-server does by itself.
    #[must_use]
    pub fn lazy_sync(mut self) -> Self {
        self.sync_always = false;
        self
    }

    /// More lines for the section `jetstream`, such as `max_file_store: 1MB`.
    #[must_use]
    pub fn jetstream(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.in_jetstream);
        self
    }

    /// More configuration, such as accounts, permissions or `max_payload`, in nats-server's own syntax.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// Keeps streams below this folder instead of a temporary one, such as on a [`SmallDisk`](crate::SmallDisk).
    #[must_use]
    pub fn store_dir(mut self, dir: &Path) -> Self {
        self.store_dir = Some(dir.to_owned());
        self
    }

    /// The part of the configuration file that is the test's choice.
    pub(super) fn text(&self, store_dir: &Path) -> String {
        let mut text = String::new();
        if self.jetstream {
            let sync = if self.sync_always { "sync_interval: always" } else { "" };
            writeln!(
                text,
                "jetstream {{\nstore_dir: \"{}\"\n{sync}\n{}\n}}",
                store_dir.display(),
                self.in_jetstream
            )
            .ok();
        }
        text.push_str(&self.config);
        text.push('\n');
        text
    }
}
