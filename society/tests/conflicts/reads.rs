//! Reads about conflicts: one record each, and a tally that is counted again.

use chaoschain_schemas::codec;
use chaoschain_schemas::society::{Conflict, ContestedField, DecidedBy, Parameters};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::{Machine, ReadError};
use chaoschain_state::{BaseView, Recording, View};
use serde_json::{Value as Json, json};

use crate::scene::*;
use crate::support::*;

#[test]
fn a_conflict_shows_its_tally_and_whether_the_outcome_agrees() {
    let mut world = society(6, &Parameters::default());
    let id = contested(&mut world);
    opt(&mut world, id, [3, 4], 1);
    let shown = world.read("conflict", &[&id.to_string()]).unwrap();
    assert_eq!(shown["id"], id.to_string());
    assert_eq!((&shown["kind"], &shown["stage"]), (&json!("InconsistentAgentState"), &json!("Open")));
    assert_eq!(shown["subject"]["fact"], json!({ "agent": ANA.id().to_string(), "field": "Personality" }));
    assert_eq!(shown["options"][1]["claim"]["personality"], "Chaotic");
    let tally = json!({
        "weights": [0, 2_000_000], "total": 4_000_000, "participation": "0.5", "all_spoken": false,
        "agrees": null,
    });
    assert_eq!((&shown["tally"], &shown["outcome"]), (&tally, &Json::Null));
    opt(&mut world, id, [5], 1);
    let shown = world.read("conflict", &[&id.to_string()]).unwrap();
    assert_eq!((&shown["stage"], &shown["tally"]["agrees"]), (&json!("Decided"), &json!(true)));
    assert_eq!((&shown["outcome"]["option"], &shown["outcome"]["by"]), (&json!(1), &json!("Threshold")));
}

#[test]
fn an_outcome_that_its_opinions_do_not_give_is_told() {
    let mut world = society(6, &Parameters::default());
    let id = contested(&mut world);
    opt(&mut world, id, 3..=5, 1);
    let honest: Conflict = world.record(&keys::conflict(&id)).unwrap();
    let mut forgeries = Vec::new();
    let mut bend = |change: fn(&mut Conflict)| {
        let mut conflict = honest.clone();
        change(&mut conflict);
        forgeries.push(conflict);
    };
    bend(|conflict| conflict.outcome.as_mut().unwrap().option = Some(0));
    bend(|conflict| conflict.outcome.as_mut().unwrap().by = DecidedBy::Deadline);
    bend(|conflict| conflict.outcome.as_mut().unwrap().weights[1] += 1);
    bend(|conflict| conflict.outcome.as_mut().unwrap().total -= 1);
    bend(|conflict| conflict.outcome.as_mut().unwrap().competing = vec![0]);
    bend(|conflict| conflict.outcome.as_mut().unwrap().competing = vec![0, 1, 2]);
    bend(|conflict| conflict.outcome.as_mut().unwrap().competing = vec![1, 0]);
    bend(|conflict| conflict.electors[0].opinion = Some(0));
    bend(|conflict| conflict.electors[0].weight = 3_000_000);
    bend(|conflict| conflict.electors.truncate(2));
    bend(|conflict| conflict.threshold = fixed("0.75"));
    for (number, conflict) in forgeries.iter().enumerate() {
        world.happen(Given::Record(keys::conflict(&id), codec::encode(conflict).into()));
        let shown = world.read("conflict", &[&id.to_string()]).unwrap();
        assert_eq!(shown["tally"]["agrees"], false, "{number}");
    }
}

#[test]
fn the_open_conflict_about_a_fact() {
    let mut world = society(5, &Parameters::default());
    let ana = ANA.id().to_string();
    assert_eq!(world.read("open-conflict", &[&ana, "Personality"]), Ok(Json::Null));
    let id = contested(&mut world);
    let want = json!({ "agent": ana, "field": "Personality", "conflict": id.to_string() });
    assert_eq!(world.read("open-conflict", &[&ana, "Personality"]), Ok(want.clone()));
    assert_eq!(world.read("open-conflict", &[&ana, "personality"]), Ok(want));
    assert_eq!(world.read("open-conflict", &[&ana, "Status"]), Ok(Json::Null));
    assert!(matches!(world.read("open-conflict", &[&ana, "Mood"]), Err(ReadError::Argument(_))));
    assert!(matches!(world.read("open-conflict", &["zz", "Status"]), Err(ReadError::Argument(_))));
    assert!(matches!(world.read("conflict", &["zz"]), Err(ReadError::Argument(_))));
    assert!(matches!(world.read("conflict", &[]), Err(ReadError::Argument(_))));
    assert_eq!(world.read("conflict", &[&"ab".repeat(32)]), Ok(Json::Null));
    opt(&mut world, id, 3..=5, 0);
    assert_eq!(world.read("open-conflict", &[&ana, "Personality"]), Ok(Json::Null));
    assert_eq!(open_about(&world, ANA, ContestedField::Personality), None);
}

#[test]
fn a_read_touches_one_record() {
    let mut world = society(5, &Parameters::default());
    let id = contested(&mut world);
    let touched = |name: &str, arguments: &[String]| {
        let recording = Recording::new(&world.state);
        let view = BaseView::new(&recording);
        Society.read(name, arguments, world.now, &view as &dyn View).unwrap();
        let reads = recording.into_reads();
        assert!(reads.ranges.is_empty());
        reads.keys
    };
    assert_eq!(touched("conflict", &[id.to_string()]), [keys::conflict(&id)]);
    let about = [ANA.id().to_string(), "Personality".to_owned()];
    assert_eq!(touched("open-conflict", &about).len(), 1);
}

#[test]
fn its_records_have_a_json_form() {
    let mut world = society(5, &Parameters::default());
    contested(&mut world);
    let records = |tag: u8| {
        let of_tag =
            move |key: &chaoschain_state::Key| key.sub_tree() == keys::SOCIAL && key.as_bytes()[0] == tag;
        world.state.iter().filter(move |(key, _)| of_tag(key))
    };
    for tag in [6, 7, 8, 9] {
        let (key, value) = records(tag).next().unwrap();
        assert!(Society.record_to_json(key, value).is_some(), "{key}");
    }
}
