//! The same over histories of the society: registrations, ratings, alliances, memes and entries.

use std::sync::Arc;

use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::society::{
    AgentRegistration, CustomDelete, CustomSet, Payload, Personality, ReputationUpdate,
};
use chaoschain_schemas::{Fixed, codec};
use chaoschain_society::Society;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::chain::*;

#[derive(Clone, Debug)]
enum Act {
    Register(usize),
    Rate(usize, usize, i64),
    Set(usize, u8),
    Delete(usize, u8),
}

const AGENTS: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let agent = 0..AGENTS;
    prop_oneof![
        2 => agent.clone().prop_map(Act::Register),
        4 => (agent.clone(), agent.clone(), -9..9_i64).prop_map(|(by, of, rating)| Act::Rate(by, of, rating)),
        3 => (agent.clone(), 0..3_u8).prop_map(|(by, key)| Act::Set(by, key)),
        3 => (agent, 0..3_u8).prop_map(|(by, key)| Act::Delete(by, key)),
    ]
}

fn does<P: Payload>(author: &mut Author, payload: &P) -> VerifiedEnvelope {
    author.does(P::KIND, codec::encode(payload), &[])
}

fn event(agents: &mut [Author], act: &Act) -> (usize, VerifiedEnvelope) {
    let entry = |key: u8| ("notes".to_owned(), format!("{key}"));
    match *act {
        Act::Register(by) => {
            (by, does(&mut agents[by], &AgentRegistration { personality: Personality::Chaotic }))
        }
        Act::Rate(by, of, rating) => {
            let subject = agents[of].id;
            (
                by,
                does(
                    &mut agents[by],
                    &ReputationUpdate { subject, rating: Fixed::from_millionths(rating * 100_000) },
                ),
            )
        }
        Act::Set(by, key) => {
            let (namespace, key) = entry(key);
            (by, does(&mut agents[by], &CustomSet { namespace, key, value: b"v".to_vec().into() }))
        }
        Act::Delete(by, key) => {
            let (namespace, key) = entry(key);
            (by, does(&mut agents[by], &CustomDelete { namespace, key }))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_verifiers_verdict_is_the_full_nodes(history in vec(vec(act(), 0..8), 1..10)) {
        let mut chain = Chain::new(Arc::new(Society));
        let mut agents: Vec<_> = (0..AGENTS).map(|number| Author::new(20 + number as u8, chain.id)).collect();
        for acts in &history {
            let mut accepted: Vec<VerifiedEnvelope> = Vec::new();
            let mut refused = Vec::new();
            for act in acts {
                let (by, event) = event(&mut agents, act);
                let tried = [&accepted[..], &[event]].concat();
                if chain.propose(1, &tried).events().len() == tried.len() {
                    accepted = tried;
                } else {
                    agents[by].nonce -= 1;
                    refused.push(tried);
                }
            }
            let block = chain.propose(1, &accepted);
            for events in refused {
                let wrong = Chain::with_events(&block, events, PRODUCER, |_| {});
                prop_assert_eq!(chain.compare("refused", &wrong), Err("event_rejected"));
            }
            let wrong = Chain::altered(&block, PRODUCER, |header| header.state_root = chaoschain_schemas::Hash::ZERO);
            prop_assert_eq!(chain.compare("another root", &wrong), Err("state_root_wrong"));
            prop_assert_eq!(chain.compare("sealed", &block), Ok(()));
        }
    }
}
