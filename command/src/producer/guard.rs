//! Never a block at or below a height that validators have attested.
//!
//! What validators have attested was in the log. A log that ends below has lost it, by a restored copy or a lost disk, and
//! a block in its place would be a second history. A node that is only late looks the same, so the log is asked first.

use std::time::{Duration, Instant};

use chaoschain_schemas::Height;

use super::BlockProducer;
use crate::append;

/// How long to wait before looking again at what changes by itself.
const GUARD_PAUSE: Duration = Duration::from_millis(10);
/// How long submissions wait for the attestations to be read, before they are refused.
const UNREAD_PATIENCE: Duration = Duration::from_secs(5);

/// What the producer knows of attestations.
#[derive(Default)]
pub(super) struct Guard {
    /// Since when it has waited for the attestations to be read.
    unread_since: Option<Instant>,
    /// What was attested before the log was last read to its end.
    pub(super) asked_for: Option<Height>,
}

impl BlockProducer {
    /// Whether nothing may be sealed now in view of what validators have attested. It is looked at again later.
    pub(super) fn is_held_back(&mut self) -> bool {
        let projection = &self.shared.projection;
        let now = Instant::now();
        if !projection.attestations().is_caught_up() {
            let since = *self.guard.unread_since.get_or_insert(now);
            if now.saturating_duration_since(since) < UNREAD_PATIENCE {
                self.not_before = Some(now + GUARD_PAUSE);
            } else {
                let text = "what validators have attested cannot be read, and without it no block is safe";
                self.hold_back("attestations_unread", text.into(), false);
            }
            return true;
        }
        self.guard.unread_since = None;
        let attested = projection.attestations().highest_attested();
        let tip = projection.tip().0.height();
        let asked_for = self.guard.asked_for.take();
        if tip >= attested {
            return false;
        }
        if !self.in_flight.is_empty() {
            // The log's answers will say whether they still stand.
            self.not_before = Some(now + GUARD_PAUSE);
        } else if let Some(lost) = asked_for.filter(|asked_for| *asked_for > tip) {
            let text = format!(
                "validators have attested block {lost}, but the log ends at block {tip}: it seems to have lost blocks; \
                restore them with `chaoschain log restore`"
            );
            self.hold_back("below_attested", text, true);
        } else {
            self.guard.asked_for = Some(attested);
            self.catching_up = true;
            append::catch_up_to_tip(&self.shared);
        }
        true
    }

    fn hold_back(&mut self, code: &'static str, message: String, needs_help: bool) {
        let before = self.shared.core().stall.as_ref().map(|stall| stall.code);
        if self.stalls == 0 || before != Some(code) {
            tracing::error!(code, "no block is sealed: {message}");
        }
        let mut stall = self.stall(code, message);
        stall.needs_help = needs_help;
        self.stalls += 1;
        self.not_before = Some(stall.until);
        let refusal = stall.error(Instant::now());
        self.shared.core().stall = Some(stall);
        self.refuse_pool(&refusal);
    }
}
