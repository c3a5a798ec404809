//! The way back to a submitter: every submission gets exactly one answer.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_schemas::api::Receipt;
use tokio::sync::oneshot;

use crate::error::SubmitError;
use crate::options::DUPLICATES_MAX;

/// What a submission comes to.
pub type Outcome = Result<Receipt, SubmitError>;

/// Takes the outcomes of a bulk submission, each with the submission's place in it. Called once for each, from a thread
/// of the service: it must be quick and must not block.
pub type OnOutcome = Arc<dyn Fn(usize, Outcome) + Send + Sync>;

/// Where one answer goes. Dropped unanswered, it says that the outcome is unknown.
pub(crate) struct Reply(Option<To>);

enum To {
    One(oneshot::Sender<Outcome>),
    Many(OnOutcome, usize),
}

impl Reply {
    pub(crate) fn one(sender: Option<oneshot::Sender<Outcome>>) -> Self {
        Self(sender.map(To::One))
    }

    pub(crate) fn many(on_outcome: &OnOutcome, place: usize) -> Self {
        Self(Some(To::Many(Arc::clone(on_outcome), place)))
    }

    pub(crate) fn answer(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        match self.0.take() {
            // A submitter that has left learns nothing, and the event goes its way all the same.
            Some(To::One(sender)) => drop(sender.send(outcome)),
            Some(To::Many(on_outcome, place)) => on_outcome(place, outcome),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(Err(SubmitError::OutcomeUnknown));
    }
}

/// Everyone who waits for the fate of the same bytes.
pub(crate) struct Replies {
    first: Reply,
    more: Vec<Reply>,
}

impl Replies {
    pub(crate) fn answer(self, outcome: Outcome) {
        for reply in self.more {
            reply.answer(outcome.clone());
        }
        self.first.answer(outcome);
    }
}

/// Who waits for what: by the whole envelope, since the same body under other signatures may fare differently.
#[derive(Default)]
pub(crate) struct Waiting(HashMap<Bytes, Replies>);

/// What became of a [`Waiting::join`].
pub(crate) enum Joined {
    /// These bytes are new here: somebody has to find their answer.
    First,
    /// They are under way; the answer will be shared.
    Shared,
    /// Too many wait for them already.
    TooMany(Reply),
}

impl Waiting {
    pub(crate) fn join(&mut self, envelope: &Bytes, reply: Reply) -> Joined {
        if let Some(replies) = self.0.get_mut(envelope) {
            if replies.more.len() + 1 >= DUPLICATES_MAX {
                return Joined::TooMany(reply);
            }
            replies.more.push(reply);
            return Joined::Shared;
        }
        self.0.insert(envelope.clone(), Replies { first: reply, more: Vec::new() });
        Joined::First
    }

    pub(crate) fn leave(&mut self, envelope: &Bytes) -> Option<Replies> {
        self.0.remove(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (Reply, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Reply::one(Some(sender)), receiver)
    }

    #[test]
    fn a_dropped_reply_still_answers() {
        let (reply, mut receiver) = one();
        drop(reply);
        assert_eq!(receiver.try_recv().unwrap(), Err(SubmitError::OutcomeUnknown));
    }

    #[test]
    fn duplicates_share_one_answer_up_to_a_bound() {
        let mut waiting = Waiting::default();
        let bytes = Bytes::from_static(b"envelope");
        let mut receivers = Vec::new();
        for place in 0..DUPLICATES_MAX {
            let (reply, receiver) = one();
            let joined = waiting.join(&bytes, reply);
            assert!(matches!(joined, Joined::First) == (place == 0));
            receivers.push(receiver);
        }
        let (reply, mut refused) = one();
        assert!(matches!(waiting.join(&bytes, reply), Joined::TooMany(_)));
        assert!(refused.try_recv().is_ok());
        waiting.leave(&bytes).unwrap().answer(Err(SubmitError::ShuttingDown));
        for mut receiver in receivers {
            assert_eq!(receiver.try_recv().unwrap(), Err(SubmitError::ShuttingDown));
        }
        assert!(waiting.leave(&bytes).is_none());
    }
}
