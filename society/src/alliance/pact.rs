//! What members enter into, by forming an alliance or by reviving one: the rules and the records are the same.

use std::collections::BTreeMap;

use chaoschain_schemas::limits::AGENT_ALLIANCES_MAX;
use chaoschain_schemas::society::{
    Agent, Alliance, AlliancePurpose, AllianceState, AllianceTerms, DueKind, Membership,
};
use chaoschain_schemas::{AgentId, AllianceId, Fixed};
use chaoschain_state::{Changes, View};

use super::{is_live, strength};
use crate::{Context, SocietyError, agent, check_distinct, conflict, due, formula, keys};

pub(super) struct Pact<'a> {
    /// In any order.
    pub(super) members: &'a [AgentId],
    pub(super) purpose: &'a AlliancePurpose,
    pub(super) terms: &'a AllianceTerms,
    pub(super) exclusive: bool,
}

/// The other live exclusive alliances of a purpose that members are in, with whether they are contested.
type Rivals = BTreeMap<AllianceId, bool>;

impl Pact<'_> {
    /// Checks that the members may enter into it now, as the alliance of this id.
    pub(super) fn check(
        &self,
        context: &Context<'_>,
        view: &dyn View,
        id: AllianceId,
    ) -> Result<(), SocietyError> {
        if !self.members.contains(&context.author) {
            return Err(SocietyError::AuthorNotMember(context.author));
        }
        check_distinct("members", self.members)?;
        let (got, max) = (self.terms.duration, context.parameters.alliance_duration_max);
        if got.0 == 0 || got > max {
            return Err(SocietyError::AllianceDuration { got, max });
        }
        let mut rivals = Rivals::new();
        for person in self.members {
            let member = agent::load(view, person)?;
            let live = member.alliances.iter().filter(|other| is_live(other.expires_at, context.now()));
            if live.count() >= AGENT_ALLIANCES_MAX {
                return Err(SocietyError::AllianceLimit(*person));
            }
            if self.exclusive {
                check_forgotten(context, person, &member)?;
                self.collect_rivals(context, &member, &mut rivals);
            }
        }
        let mut found = rivals.iter();
        match (found.next(), found.next()) {
            (None, _) => Ok(()),
            (Some((rival, true)), None) => Err(SocietyError::AllianceContested(*rival)),
            (Some((rival, false)), None) => conflict::check_alliances(context, view, *rival, id),
            (Some((first, _)), Some((second, _))) => {
                Err(SocietyError::AllianceOverlap { count: rivals.len(), first: *first, second: *second })
            }
        }
    }

    /// Makes the alliance stand from now on; opens a conflict where it overlaps with another.
    pub(super) fn establish(&self, context: &Context<'_>, changes: &mut Changes<'_>, id: AllianceId) {
        let rival = self.rival(context, changes.view());
        let mut members = self.members.to_vec();
        members.sort_unstable();
        let now = context.now();
        let mut alliance = Alliance {
            members,
            purpose: self.purpose.clone(),
            terms: self.terms.clone(),
            exclusive: self.exclusive,
            state: AllianceState::Active,
            formed_at: now,
            expires_at: now.saturating_add(self.terms.duration),
            strength: Fixed::ZERO,
            conflict: None,
            end: None,
        };
        alliance.strength = strength(&alliance, now, changes.view());
        let membership = Membership {
            id,
            expires_at: alliance.expires_at,
            exclusive_for: self.exclusive.then(|| self.purpose.hash()),
            benefits: self.terms.benefits.clone(),
            strength: alliance.strength,
            contested: false,
        };
        for member in &alliance.members {
            let key = keys::agent(member);
            let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
            agent.alliances.retain(|other| is_live(other.expires_at, now));
            agent.alliances.push(membership.clone());
            changes.put(&key, &agent);
        }
        changes.put(&keys::alliance(&id), &alliance);
        let work = alliance.members.len() as u32;
        due::put(changes, alliance.expires_at, DueKind::AllianceExpiry, id.as_bytes(), work);
        if let Some(earlier) = rival {
            conflict::open_alliances(context, changes, earlier, (id, alliance));
        }
    }

    /// The one alliance that this comes into conflict with, where there is one.
    fn rival(&self, context: &Context<'_>, view: &dyn View) -> Option<(AllianceId, Alliance)> {
        if !self.exclusive {
            return None;
        }
        let mut rivals = Rivals::new();
        for id in self.members {
            self.collect_rivals(context, &view.record(&keys::agent(id))?, &mut rivals);
        }
        let (id, _) = rivals.pop_first()?;
        Some((id, view.record(&keys::alliance(&id))?))
    }

    fn collect_rivals(&self, context: &Context<'_>, member: &Agent, rivals: &mut Rivals) {
        let purpose = Some(self.purpose.hash());
        let live = member.alliances.iter().filter(|other| is_live(other.expires_at, context.now()));
        rivals.extend(
            live.filter(|other| other.exclusive_for == purpose).map(|other| (other.id, other.contested)),
        );
    }
}

/// Checks that no betrayal of a member's is remembered. Version 1 of the rules remembers none.
fn check_forgotten(context: &Context<'_>, id: &AgentId, member: &Agent) -> Result<(), SocietyError> {
    let until = member.betrayed_at.map(|at| at.saturating_add(formula::BETRAYAL_MEMORY));
    match until {
        Some(until) if context.block.rules >= 2 && context.now() < until => {
            Err(SocietyError::BetrayalRemembered { member: *id, until })
        }
        _ => Ok(()),
    }
}
