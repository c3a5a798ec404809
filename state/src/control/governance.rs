//! What validators decide together: roles, suspensions, parameters, rules.
//!
//! More than two thirds of the weight of the validators in force sign: the author, which is one of them, and cosigners.
//! A suspended validator cannot sign; its weight stays in the total.

use std::collections::BTreeSet;

use chaoschain_schemas::control::{
    ParameterChange, RoleGrant, Schedule, Scheduled, Suspension, Validators, is_quorum, kind,
};
use chaoschain_schemas::limits::{DOMAIN_PARAMETERS_BYTES_MAX, REASON_BYTES_MAX};
use chaoschain_schemas::{AccountId, Body, CodecError, EventAddress, Height};

use super::checks::decode_payload;
use super::standing::Standing;
use super::{keys, schedule};
use crate::domain::{BlockContext, DomainParameters, Machine};
use crate::rejection::Rejection;
use crate::view::{Changes, View};

/// Whether validators with more than two thirds of the weight have to sign a transition of this kind.
pub const fn needs_quorum(kind: u16) -> bool {
    matches!(kind, kind::ROLE_GRANT | kind::SUSPENSION | kind::PARAMETER_CHANGE)
}

/// A decision on its way to the rules; its signers' accounts and keys are checked.
pub(super) struct Event<'a> {
    pub(super) machine: &'a dyn Machine,
    pub(super) block: &'a BlockContext,
    pub(super) address: EventAddress,
    pub(super) body: &'a Body,
    pub(super) cosigners: &'a [AccountId],
}

/// What is to be written.
pub(super) enum Decision {
    Suspend(Suspension),
    Schedule(Schedule),
}

impl Event<'_> {
    /// Decides whether the transition is acceptable.
    pub(super) fn decide(&self, view: &dyn View) -> Result<Decision, Rejection> {
        match self.body.kind {
            kind::SUSPENSION => {
                let suspension: Suspension = decode_payload(self.body)?;
                self.check_reason(&suspension.reason)?;
                self.check_quorum(view)?;
                Standing::of(view).suspend(&suspension.account, suspension.suspended)?;
                Ok(Decision::Suspend(suspension))
            }
            kind::PARAMETER_CHANGE => {
                let change: ParameterChange = decode_payload(self.body)?;
                self.check_reason(&change.reason)?;
                self.check_change(&change)?;
                self.check_quorum(view)?;
                self.schedule(view, change.at)
            }
            _ => {
                let grant: RoleGrant = decode_payload(self.body)?;
                self.check_quorum(view)?;
                self.schedule(view, grant.at)
            }
        }
    }

    fn schedule(&self, view: &dyn View, at: Height) -> Result<Decision, Rejection> {
        let Body { kind, payload, .. } = self.body;
        let scheduled = Scheduled { at, event: self.address, kind: *kind, payload: payload.clone() };
        schedule::with(self.machine, view, self.block, scheduled).map(Decision::Schedule)
    }

    fn malformed(&self, what: String) -> Rejection {
        Rejection::Payload { kind: self.body.kind, error: CodecError::Form(what) }
    }

    fn check_reason(&self, reason: &str) -> Result<(), Rejection> {
        match reason.len() {
            1..=REASON_BYTES_MAX => Ok(()),
            bytes => Err(self.malformed(format!("a reason of {bytes} bytes, not 1 to {REASON_BYTES_MAX}"))),
        }
    }

    fn check_change(&self, change: &ParameterChange) -> Result<(), Rejection> {
        if change.kernel.is_none() && change.domain.is_none() && change.rules.is_none() {
            return Err(self.malformed("neither kernel nor domain nor rules are given".into()));
        }
        if let Some(kernel) = &change.kernel {
            kernel.check().map_err(|what| self.malformed(what))?;
        }
        match change.domain.as_ref().map(|domain| domain.len()) {
            Some(bytes) if bytes > DOMAIN_PARAMETERS_BYTES_MAX => {
                let error = CodecError::TooLarge { bytes, max: DOMAIN_PARAMETERS_BYTES_MAX };
                Err(Rejection::Payload { kind: self.body.kind, error })
            }
            _ => Ok(()),
        }
    }

    /// Checks that author and cosigners are validators in force with more than two thirds of the weight.
    fn check_quorum(&self, view: &dyn View) -> Result<(), Rejection> {
        let validators: Validators = view.record(&keys::validators()).unwrap_or_default();
        let author = self.body.author;
        let mut weight = validators.weight_of(&author).ok_or(Rejection::ValidatorRequired(author))?;
        let mut counted = BTreeSet::from([author]);
        for cosigner in self.cosigners {
            let own = validators.weight_of(cosigner).filter(|_| counted.insert(*cosigner));
            weight = weight.saturating_add(own.ok_or(Rejection::CosignatureUnneeded(*cosigner))?);
        }
        let total = validators.total();
        if is_quorum(weight, total) { Ok(()) } else { Err(Rejection::QuorumMissing { weight, total }) }
    }
}

impl Decision {
    /// Writes what was decided; the author's account is written.
    pub(super) fn carry_out(self, block: &BlockContext, changes: &mut Changes<'_>) {
        match self {
            Self::Schedule(schedule) => changes.put(&keys::schedule(), &schedule),
            Self::Suspend(suspension) => {
                let mut standing = Standing::of(changes.view());
                if standing.suspend(&suspension.account, suspension.suspended).is_ok() {
                    let decided = standing.into_changed(block.height);
                    decided.write(changes);
                }
            }
        }
    }
}

/// Whether `next` is the version of the rules after `current`.
fn is_next_version(current: u16, next: u16) -> bool {
    current.checked_add(1) == Some(next)
}

/// The rules after a change that meets version `current`, if it can take effect there. The domain's parameters are judged
/// by the rules that they come into force with, unless these are newer than version `judged`.
pub(super) fn rules_after(
    machine: &dyn Machine,
    change: &ParameterChange,
    current: u16,
    judged: u16,
) -> Result<u16, Rejection> {
    let rules = change.rules.unwrap_or(current);
    if change.rules.is_some() && !is_next_version(current, rules) {
        return Err(Rejection::RulesVersionWrong { current, got: rules });
    }
    if let Some(domain) = change.domain.as_ref().filter(|_| rules <= judged) {
        let refused = |error| Rejection::Payload { kind: kind::PARAMETER_CHANGE, error };
        machine.check_parameters(rules, domain).map_err(refused)?;
    }
    Ok(rules)
}

/// What a change of parameters does to the block it takes effect in; nothing if it cannot.
pub(super) fn change_terms(machine: &dyn Machine, context: &mut BlockContext, change: ParameterChange) {
    let Ok(rules) = rules_after(machine, &change, context.rules, machine.rules()) else { return };
    context.rules = rules;
    context.parameters = change.kernel.unwrap_or_else(|| context.parameters.clone());
    if let Some(domain) = change.domain {
        context.domain_parameters = DomainParameters::new(domain.0.into());
    }
}
