//! Reports: a contested fact opens a conflict, a divergence is kept as evidence.

use std::collections::BTreeSet;

use chaoschain_schemas::Fixed;
use chaoschain_schemas::control::{Account, Role};
use chaoschain_schemas::society::{
    Agent, AgentStatus, Claim, Conflict, ConflictKind, ConflictOption, ConflictReport, ConflictSubject,
    ContestedFact, Divergence, FactReport, OpenConflict,
};
use chaoschain_state::control::keys as control_keys;
use chaoschain_state::{Changes, View};

use super::ConflictError;
use super::open::{blank, check_new, check_room, count_evidence, open};
use crate::{Context, SocietyError, agent, check_range, keys};

pub(crate) fn verify_report(
    context: &Context<'_>,
    view: &dyn View,
    report: &ConflictReport,
) -> Result<(), SocietyError> {
    match (&report.fact, &report.divergence) {
        (Some(fact), None) => {
            verify_fact(context, view, fact)?;
            check_room(context, view)?;
        }
        // Evidence is never open and takes nobody's room, so that no flood of reports keeps it out.
        (None, Some(divergence)) => verify_divergence(context, view, divergence)?,
        _ => {
            return Err(
                ConflictError::ClaimInvalid("a report has either a fact or a divergence".into()).into()
            );
        }
    }
    check_new(view, &described(context, report))
}

fn verify_fact(context: &Context<'_>, view: &dyn View, report: &FactReport) -> Result<(), SocietyError> {
    agent::check_exists(view, &context.author)?;
    if report.agent == context.author {
        return Err(SocietyError::SelfDirected("subjects of a report"));
    }
    let subject = agent::load(view, &report.agent)?;
    for (at, claim) in report.claims.iter().enumerate() {
        check_claim(report, &subject, claim)?;
        if report.claims[..at].contains(claim) {
            return Err(SocietyError::Duplicate { list: "claims", item: said(claim) });
        }
    }
    if let Some(open) = contested(report).and_then(|fact| view.record(&keys::open_conflict(&fact))) {
        let OpenConflict { conflict } = open;
        return Err(ConflictError::Exists(conflict).into());
    }
    match view.record(&keys::open_report(&context.author)) {
        Some(OpenConflict { conflict }) => Err(ConflictError::ReportOpen(conflict).into()),
        None => Ok(()),
    }
}

/// Checks that a claim could hold, and that it says something new.
fn check_claim(report: &FactReport, subject: &Agent, claim: &Claim) -> Result<(), SocietyError> {
    let invalid = |text: &str| Err(ConflictError::ClaimInvalid(text.into()).into());
    let Some(field) = claim.field() else { return invalid("a claim sets exactly one field") };
    let stands = match claim {
        Claim { personality: Some(personality), .. } => *personality == subject.personality,
        Claim { status: Some(status), .. } => {
            if !matches!(status, AgentStatus::Active | AgentStatus::Inactive) {
                return invalid(&format!("a claim can be that an agent is Active or Inactive, not {status}"));
            }
            *status == subject.status
        }
        Claim { reputation: Some(reputation), .. } => {
            check_range("claimed reputation", *reputation, Fixed::ZERO, Fixed::ONE)?;
            *reputation == subject.reputation
        }
        _ => false,
    };
    if stands {
        return Err(ConflictError::ClaimStands { agent: report.agent, field, claim: said(claim) }.into());
    }
    Ok(())
}

fn verify_divergence(
    context: &Context<'_>,
    view: &dyn View,
    divergence: &Divergence,
) -> Result<(), SocietyError> {
    let account: Option<Account> = view.record(&control_keys::account(&context.author));
    let role = account.map_or(Role::Member, |account| account.role);
    if !matches!(role, Role::Producer | Role::Validator) {
        return Err(ConflictError::RoleRequired(role).into());
    }
    let (got, height) = (divergence.height, context.block.height);
    if got >= height {
        return Err(ConflictError::DivergenceAhead { got, height }.into());
    }
    Ok(())
}

pub(crate) fn apply_report(context: &Context<'_>, changes: &mut Changes<'_>, report: &ConflictReport) {
    let conflict = described(context, report);
    let Some(fact) = conflict.subject.fact else {
        changes.put(&keys::conflict(&conflict.id()), &conflict);
        count_evidence(changes);
        return;
    };
    let parties = BTreeSet::from([context.author, fact.agent]);
    let open = OpenConflict { conflict: open(context, changes, conflict, &parties) };
    changes.put(&keys::open_conflict(&fact), &open);
    changes.put(&keys::open_report(&context.author), &open);
}

/// The conflict of a report, without electors. Evidence is never open, so its deadline is when it was recorded.
fn described(context: &Context<'_>, report: &ConflictReport) -> Conflict {
    let conflict = Conflict { reason: report.reason.clone(), ..blank(context) };
    match &report.fact {
        Some(fact) => {
            let claimed = |claim: &Claim| ConflictOption { alliance: None, claim: Some(claim.clone()) };
            let as_it_stands = ConflictOption::default();
            Conflict {
                kind: ConflictKind::InconsistentAgentState,
                subject: ConflictSubject { fact: contested(fact), divergence: None },
                options: std::iter::once(as_it_stands).chain(fact.claims.iter().map(claimed)).collect(),
                strategy: report.strategy.unwrap_or(context.parameters.conflict_strategy),
                ..conflict
            }
        }
        None => Conflict {
            subject: ConflictSubject { fact: None, divergence: report.divergence },
            deadline: context.now(),
            ..conflict
        },
    }
}

fn contested(report: &FactReport) -> Option<ContestedFact> {
    let field = report.claims.first()?.field()?;
    Some(ContestedFact { agent: report.agent, field })
}

fn said(claim: &Claim) -> String {
    match claim {
        Claim { personality: Some(personality), .. } => personality.to_string(),
        Claim { status: Some(status), .. } => status.to_string(),
        Claim { reputation, .. } => reputation.unwrap_or_default().to_string(),
    }
}
