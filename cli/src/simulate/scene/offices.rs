//! What validators decide, and what concerns the chain itself.

use chaoschain_schemas::control::{
    AccountRegistration, ParameterChange, Registration, Role, RoleGrant, Suspension, kind,
};
use chaoschain_schemas::society::{ConflictReport, Divergence, Parameters, ReputationUpdate, Strategy};
use chaoschain_schemas::{Fixed, Hash, Height, codec};
use chaoschain_society::Society;
use chaoschain_state::domain::Domain as _;

use super::Turn;
use crate::simulate::act::{Act, Look, Origin};
use crate::simulate::chain::VALIDATORS;
use crate::simulate::model::{Person, Who};

/// After how many blocks a decision about roles, parameters or rules takes effect.
const NOTICE: u64 = 3;
/// How many blocks an office or a suspension lasts.
const TERM: u32 = 12;
/// In which block of its suspension somebody tries to act.
const TRY_AT: u32 = 4;

/// A decision that all validators but the producer sign; nothing while one of them signs something else in the block.
fn decision<T: serde::Serialize>(look: &mut Look<'_>, kind: u16, decision: &T) -> Option<Act> {
    let validators: Vec<Who> = (0..VALIDATORS).collect();
    if validators.iter().any(|who| look.is_busy(*who)) {
        return None;
    }
    let act = Act::kernels(validators[0], kind, codec::encode(decision)).with(validators[1..].to_vec());
    Some(look.take(act))
}

fn in_force(look: &Look<'_>) -> Height {
    Height(look.parent.0.0 + NOTICE)
}

/// An agent gets an office, and loses it again.
#[derive(Default)]
pub(super) struct Office {
    holder: Option<Who>,
    blocks: u32,
}

impl Office {
    pub(super) fn turn(&mut self, look: &mut Look<'_>, pass: usize) -> Turn {
        let Some(who) = self.holder else {
            let Some(who) = look.others(&[], 1, true).first().copied() else { return Turn::Acts(Vec::new()) };
            let role = if pass.is_multiple_of(2) { Role::Producer } else { Role::Validator };
            let act = grant(look, who, role, 2);
            self.holder = act.is_some().then_some(who);
            return Turn::Acts(act.into_iter().collect());
        };
        self.blocks += 1;
        if self.blocks < TERM {
            return Turn::Acts(Vec::new());
        }
        Turn::once(grant(look, who, Role::Member, 0))
    }
}

fn grant(look: &mut Look<'_>, who: Who, role: Role, sponsorships: u32) -> Option<Act> {
    let grant = RoleGrant { account: look.id(who), role, weight: 0, sponsorships, at: in_force(look) };
    decision(look, kind::ROLE_GRANT, &grant)
}

/// Somebody is suspended, tries to act, and may act again.
#[derive(Default)]
pub(super) struct Ban {
    banned: Option<Who>,
    blocks: u32,
}

impl Ban {
    pub(super) fn turn(&mut self, look: &mut Look<'_>) -> Turn {
        let Some(who) = self.banned else {
            let Some(who) = look.others(&[], 1, true).first().copied() else { return Turn::Acts(Vec::new()) };
            let act = suspension(look, who, true);
            self.banned = act.is_some().then_some(who);
            return Turn::Acts(act.into_iter().collect());
        };
        self.blocks += 1;
        let suspended = look.model.people[who].suspended;
        if self.blocks == TRY_AT && suspended && !look.is_busy(who) {
            return Turn::Acts(attempt(look, who).into_iter().collect());
        }
        if self.blocks < TERM {
            return Turn::Acts(Vec::new());
        }
        if suspended { Turn::Acts(suspension(look, who, false).into_iter().collect()) } else { Turn::Done }
    }
}

fn suspension(look: &mut Look<'_>, who: Who, suspended: bool) -> Option<Act> {
    let reason = if suspended { "rang the bell at night" } else { "has said sorry" };
    let suspension = Suspension { account: look.id(who), suspended, reason: reason.into() };
    decision(look, kind::SUSPENSION, &suspension)
}

fn attempt(look: &mut Look<'_>, who: Who) -> Option<Act> {
    let other = *look.others(&[who], 1, false).first()?;
    let act = Act::of(who, &ReputationUpdate { subject: look.id(other), rating: Fixed::HALF });
    Some(look.take(act).from(Origin::Wrong("account_suspended")))
}

/// The first time the next version of the rules; then how electors of alliances' conflicts are weighed, and who may
/// register.
pub(super) fn amendment(look: &mut Look<'_>, pass: usize) -> Option<Act> {
    let at = in_force(look);
    let change = if pass == 0 {
        let reason = "newcomers are to push nobody out".into();
        ParameterChange { at, kernel: None, domain: None, rules: Some(Society::RULES), reason }
    } else {
        let conflict_strategy = Strategy::ALL[pass % Strategy::ALL.len()];
        let domain = Parameters { conflict_strategy, ..look.parameters.clone() };
        let registration = if pass % 2 == 1 { Registration::Sponsored } else { Registration::Open };
        let kernel = chaoschain_schemas::control::Parameters { registration, ..look.kernel.clone() };
        let reason = "other times".into();
        let domain = Some(codec::encode(&domain).into());
        ParameterChange { at, kernel: Some(kernel), domain, rules: None, reason }
    };
    decision(look, kind::PARAMETER_CHANGE, &change)
}

/// Somebody registers an account and no agent, with a sponsor where one is needed.
pub(super) fn onlooker(look: &mut Look<'_>, pass: usize) -> Act {
    let who = look.model.add(Person::new(look.seed, format!("onlooker {pass}")));
    let act = Act::kernels(who, kind::ACCOUNT_REGISTRATION, codec::encode(&AccountRegistration {}));
    let act = look.sponsored(act);
    look.take(act)
}

/// A validator computed another state than the newest block commits to, or says so.
pub(super) fn evidence(look: &mut Look<'_>) -> Option<Act> {
    let author: Who = VALIDATORS - 1;
    if look.is_busy(author) {
        return None;
    }
    let (height, header_hash) = look.parent;
    let divergence = Divergence { height, header_hash, computed: Hash::new(look.draws.bytes()) };
    let reason = "my root is another one".into();
    let report = ConflictReport { fact: None, divergence: Some(divergence), strategy: None, reason };
    let act = Act::of(author, &report);
    Some(look.take(act))
}
