//! What the rules allow and this build could not follow.

use chaoschain_schemas::control::{ParameterChange, kind};
use chaoschain_schemas::{Body, codec};
use chaoschain_state::domain::Machine;

use crate::error::SubmitError;

/// Refuses to move the chain to rules that this build does not have.
///
/// No rule can say so, for no state knows which builds there are. But once such a change is in the log, every node of this
/// build stops at the height that it takes effect at, this service among them.
///
/// # Errors
/// [`SubmitError::Unavailable`] with the code `rules_unknown`.
pub(crate) fn check_rules_known(machine: &dyn Machine, body: &Body) -> Result<(), SubmitError> {
    if body.kind != kind::PARAMETER_CHANGE {
        return Ok(());
    }
    // What cannot be read the rules refuse.
    let change = codec::decode::<ParameterChange>(&body.payload, body.payload.len()).ok();
    let known = machine.rules();
    match change.and_then(|change| change.rules) {
        Some(wanted) if wanted > known => Err(SubmitError::Unavailable {
            code: "rules_unknown".into(),
            message: format!(
                "this service knows the rules up to version {known} and would stop at version {wanted}: put a newer program in \
                 place on every node before the change is decided"
            ),
            retry_after: None,
        }),
        _ => Ok(()),
    }
}
