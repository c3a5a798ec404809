//! Named reads: what they show and which keys they touch.

use chaoschain_schemas::society::{
    AgentRegistration, AllianceDeparture, CustomSet, DramaKind, DramaRecord, InteractionKind, MemeContent,
    MemeInfluence, MemePublication, MemeReaction, MemeType, Parameters, Personality, PersonalityShift,
    ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{EventAddress, Height, MemeId, Micros, codec};
use chaoschain_society::{Society, Transition, keys};
use chaoschain_state::domain::{Machine, ReadError};
use chaoschain_state::{BaseView, Recording, View, control};
use serde_json::{Value as Json, json};

use crate::support::*;

fn ally(members: &[Person]) -> Given {
    formed(members, formation(members))
}

#[test]
fn an_agent_is_account_and_profile_in_one() {
    let mut world = given([registered(ANA), registered(BOB), passed(9), ally(&[ANA, BOB])]);
    let alliance = world.last.to_string();
    let id = ANA.id().to_string();
    let want = json!({
        "id": id,
        "public_key": ANA.key().to_string(),
        "personality": "Neutral",
        "reputation": "0.5",
        "alliances": [alliance],
        "status": "Active",
        "last_activity": START.0 + 9,
        "influence": "0.5",
        "role": "Member",
        "status_reason": "",
        "status_since": START.0,
        "status_expected": null,
        "registered_at": START.0,
        "ordinal": 0,
        "betrayed_at": null,
    });
    assert_eq!(world.read("agent", &[&id]).unwrap().to_string(), want.to_string(), "in this order");

    world.happen(passed(HOUR));
    assert_eq!(world.read("agent", &[&id]).unwrap()["alliances"], json!([]), "expired ones are not shown");

    let key = control::keys::account(&ANA.id());
    let mut account: chaoschain_schemas::control::Account = world.record(&key).unwrap();
    account.suspended = true;
    world.happen(Given::Record(key, codec::encode(&account).into()));
    assert_eq!(world.read("agent", &[&id]).unwrap()["status"], "Suspended");
}

#[test]
fn an_account_without_a_profile_is_no_agent() {
    let world = given([Given::Account(ANA)]);
    assert_eq!(world.read("agent", &[&ANA.id().to_string()]), Ok(Json::Null));
}

#[test]
fn an_alliance_shows_its_strength_and_its_end() {
    let rate = event(ANA, ReputationUpdate { subject: BOB.id(), rating: fixed("0.8") });
    let mut world = given([registered(ANA), registered(BOB), rate, ally(&[ANA, BOB])]);
    let id = world.last.to_string();
    // Members (0.5 + 0.52) / 2 = 0.51, interactions (0.58 + 0.5) / 2 = 0.54, memes 0.5, time 1.
    let shown = world.read("alliance", &[&id]).unwrap();
    assert_eq!(shown["strength"], "0.1377");
    assert_eq!(shown["state"], "Active");
    world.happen(passed(HOUR / 4));
    assert_eq!(world.read("alliance", &[&id]).unwrap()["strength"], "0.103275");
    world.happen(passed(HOUR - HOUR / 4));
    let shown = world.read("alliance", &[&id]).unwrap();
    assert_eq!((&shown["state"], &shown["strength"]), (&json!("Expired"), &json!("0")));
}

#[test]
fn a_memes_influence_is_shown_as_it_is_now() {
    let publication = MemePublication {
        content_type: MemeType::Ascii,
        content: MemeContent::of(b":-)"),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: vec!["smile".into()],
        targets: Vec::new(),
    };
    for (half_life, later) in [(24 * HOUR, "0.3"), (36 * HOUR, "0.2"), (0, "0.4")] {
        let mut world = World::new(&Parameters { meme_half_life: Micros(half_life), ..Default::default() });
        world.happen(registered(ANA));
        world.happen(event(ANA, publication.clone()));
        let meme = world.last.into();
        let id = world.last.to_string();
        let shown = world.read("meme", &[&id]).unwrap();
        assert_eq!((&shown["influence"], &shown["influenced_at"]), (&json!("0"), &Json::Null));
        let influence = MemeInfluence { meme, impact: fixed("0.4"), sentiment: fixed("0"), affected: vec![] };
        world.happen(event(ANA, influence));
        world.happen(passed(if half_life == 24 * HOUR { 12 * HOUR } else { 36 * HOUR }));
        let shown = world.read("meme", &[&id]).unwrap();
        assert_eq!(shown["influence"], later);
        assert_eq!(shown["influence_count"], 1);
        assert_eq!(shown["tags"], json!(["smile"]));
    }
}

#[test]
fn relationships_and_entries() {
    let (ana, bob) = (ANA.id().to_string(), BOB.id().to_string());
    let world = given([
        registered(ANA),
        registered(BOB),
        event(ANA, ReputationUpdate { subject: BOB.id(), rating: fixed("1") }),
        event(ANA, CustomSet { namespace: "n".into(), key: "k".into(), value: b"chaos".as_slice().into() }),
    ]);
    let shown = world.read("relationship", &[&ana, &bob]).unwrap();
    assert_eq!((&shown["from"], &shown["to"], &shown["trust"]), (&json!(ana), &json!(bob), &json!("0.6")));
    assert_eq!(world.read("relationship", &[&bob, &ana]), Ok(Json::Null));
    let want = json!({ "owner": ana, "namespace": "n", "key": "k", "value": "Y2hhb3M=" });
    assert_eq!(world.read("entry", &[&ana, "n", "k"]), Ok(want));
    assert_eq!(world.read("entry", &[&ana, "n", "other"]), Ok(Json::Null));
}

#[test]
fn what_is_not_there_reads_as_null_and_nonsense_is_told() {
    let world = given([]);
    let nobody = "ab".repeat(32);
    for (name, arguments) in [
        ("agent", vec![nobody.as_str()]),
        ("alliance", vec![&nobody]),
        ("relationship", vec![&nobody, &nobody]),
        ("meme", vec![&nobody]),
        ("personality", vec![&nobody]),
        ("drama", vec!["1", "0"]),
        ("entry", vec![&nobody, "n", "k"]),
    ] {
        assert_eq!(world.read(name, &arguments), Ok(Json::Null), "{name}");
        let cut = &arguments[..arguments.len() - 1];
        assert!(matches!(world.read(name, cut), Err(ReadError::Argument(_))), "{name}");
        let garbled: Vec<_> = ["zz"].into_iter().chain(arguments[1..].iter().copied()).collect();
        assert!(matches!(world.read(name, &garbled), Err(ReadError::Argument(_))), "{name}");
        let cut: Vec<_> = cut.iter().map(|&text| text.to_owned()).collect();
        let view = BaseView::new(&world.state);
        assert!(matches!(Society.read(name, &cut, START, &view), Err(ReadError::Argument(_))), "{name}");
    }
    assert_eq!(world.read("weather", &[]), Err(ReadError::Unknown("weather".into())));
}

#[test]
fn a_read_touches_only_what_it_shows() {
    let world = given([registered(ANA), registered(BOB), ally(&[ANA, BOB])]);
    let touched = |name: &str, arguments: &[String]| {
        let recording = Recording::new(&world.state);
        let view = BaseView::new(&recording);
        Society.read(name, arguments, world.now, &view as &dyn View).unwrap();
        let reads = recording.into_reads();
        assert!(reads.ranges.is_empty());
        reads.keys
    };
    let (ana, bob) = (ANA.id(), BOB.id());
    let want = [keys::agent(&ana), control::keys::account(&ana)];
    assert_eq!(touched("agent", &[ana.to_string()]), want);
    let mut keys_read = touched("alliance", &[world.last.to_string()]);
    keys_read.sort();
    let mut want = [
        keys::agent(&ana),
        keys::agent(&bob),
        keys::alliance(&world.last.into()),
        keys::relationship(&ana, &bob),
        keys::relationship(&bob, &ana),
    ];
    want.sort();
    assert_eq!(keys_read, want);
}

#[test]
fn the_end_of_an_alliance_is_shown() {
    let world = given(three()).and([ally(&[ANA, BOB])]);
    let id = world.last.to_string();
    let alliance = world.last.into();
    let shown = world.read("alliance", &[&id]).unwrap();
    assert_eq!((&shown["strength_at_formation"], &shown["end"]), (&json!("0.125"), &Json::Null));
    let contested = given(three()).and([ally(&[ANA, BOB])]).contested(alliance);
    let shown = contested.read("alliance", &[&id]).unwrap();
    assert_eq!(shown["state"], "Contested");
    assert!(shown["conflict"].is_string());
    let shown = contested.and([passed(HOUR)]).read("alliance", &[&id]).unwrap();
    assert_eq!((&shown["state"], &shown["conflict"]), (&json!("Expired"), &Json::Null));
    let leave = AllianceDeparture { alliance, reason: String::new(), drama: 0 };
    let world = world.and([event(BOB, leave)]);
    let shown = world.read("alliance", &[&id]).unwrap();
    assert_eq!((&shown["state"], &shown["strength"]), (&json!("Dissolved"), &json!("0")));
    assert_eq!(shown["end"], json!({ "at": START.0, "cause": "Departure", "by": BOB.id().to_string() }));
}

#[test]
fn changes_of_personality_are_shown() {
    let shift = PersonalityShift { personality: Personality::Lawful, reason: "grew up".into(), drama: 3 };
    let world = given([registered(ANA), event(ANA, shift)]);
    let id = ANA.id().to_string();
    let history = json!({
        "count": 1, "old": "Neutral", "new": "Lawful", "reason": "grew up", "drama": 3, "changed_at": START.0,
    });
    let mut shown = world.read("personality", &[&id]).unwrap();
    assert_eq!(shown["id"], id.as_str());
    shown.as_object_mut().unwrap().remove("id");
    assert_eq!(shown, history);
}

#[test]
fn dramas_are_listed_page_by_page() {
    let record =
        |who, level| (by(who), DramaRecord { kind: DramaKind::Drama, text: "a scene".into(), level }.into());
    let mut world = given([registered(ANA), registered(BOB)]);
    world.block(&[record(ANA, 1), record(BOB, 2), record(ANA, 3)]);
    world.block(&[record(BOB, 4)]);
    let shown = world.read("drama", &["3", "1"]).unwrap();
    let want = json!({
        "height": 3, "index": 1, "kind": "Drama", "agent": BOB.id().to_string(), "text": "a scene", "level": 2,
        "at": START.0, "alliance": null,
    });
    assert_eq!(shown, want);
    assert_eq!(world.read("drama", &["3", "3"]), Ok(Json::Null));
    let page = |from: &str, limit: &str| {
        let shown = world.read("dramas", &[from, limit]).unwrap();
        let levels = shown["events"].as_array().unwrap().iter().map(|event| event["level"].as_u64().unwrap());
        (levels.collect::<Vec<_>>(), shown["next"].as_str().map(str::to_owned))
    };
    assert_eq!(page("0", "256"), (vec![1, 2, 3, 4], None));
    assert_eq!(page("0", "2"), (vec![1, 2], Some("3/2".into())));
    assert_eq!(page("3/2", "2"), (vec![3, 4], Some("4/1".into())));
    assert_eq!(page("4/1", "2"), (vec![], None));
    assert_eq!(page("18446744073709551615/4294967295", "1"), (vec![], None));
    for (from, limit) in
        [("0", "0"), ("0", "257"), ("0", "all"), ("3/", "1"), ("/1", "1"), ("-1", "1"), ("3/1/1", "1")]
    {
        assert!(
            matches!(world.read("dramas", &[from, limit]), Err(ReadError::Argument(_))),
            "{from} {limit}"
        );
    }
    // A page reads one range, from where it starts to where it ends.
    let recording = Recording::new(&world.state);
    let arguments = ["0".to_owned(), "2".to_owned()];
    Society.read("dramas", &arguments, world.now, &BaseView::new(&recording) as &dyn View).unwrap();
    let reads = recording.into_reads();
    let at = |index| keys::drama(EventAddress { height: Height(3), index });
    assert_eq!(reads.ranges, [(keys::drama(EventAddress { height: Height(0), index: 0 }), at(1))]);
    assert!(reads.keys.is_empty());
}

/// That what is named is also read, all tests of this crate see; here, that it is named.
#[test]
fn what_events_are_plainly_about_is_prefetched() {
    let (meme, targets) = (MemeId::new([7; 32]), ids(&[BOB, CLEO]));
    let named = |transition: Transition| {
        let mut keys = Vec::new();
        Society.likely_reads(transition.kind(), &transition.encode(), &ANA.id(), &mut keys);
        keys
    };
    let [ana, bob, cleo] = [ANA, BOB, CLEO].map(|person| keys::agent(&person.id()));
    let to = |person: Person| keys::relationship(&ANA.id(), &person.id());
    let moved = [ana, keys::meme(&meme), keys::influence(&meme)];
    let rating = ReputationUpdate { subject: BOB.id(), rating: fixed("1") };
    assert_eq!(named(rating.into()), [ana, bob, to(BOB)]);
    let interaction = SocialInteraction {
        kind: InteractionKind::Friend,
        targets: targets.clone(),
        content: None,
        sentiment: fixed("1"),
        drama: 0,
    };
    assert_eq!(named(interaction.into()), [ana, bob, to(BOB), cleo, to(CLEO)]);
    let influence = MemeInfluence { meme, impact: fixed("0"), sentiment: fixed("0"), affected: targets };
    assert_eq!(named(influence.into()), [&moved[..], &[bob, cleo]].concat());
    assert_eq!(named(MemeReaction { meme, score: fixed("1") }.into()), moved);
    assert_eq!(named(AgentRegistration { personality: Personality::Lawful }.into()), []);
}

#[test]
fn every_record_has_a_json_form() {
    let publication = MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b""),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    };
    let shift = PersonalityShift { personality: Personality::Chaotic, reason: "bored".into(), drama: 1 };
    let mut world = given([
        registered(ANA),
        registered(BOB),
        ally(&[ANA, BOB]),
        event(ANA, shift),
        event(ANA, publication),
    ]);
    let react = MemeReaction { meme: world.last.into(), score: fixed("0.9") };
    let influence = MemeInfluence {
        meme: world.last.into(),
        impact: fixed("0.1"),
        sentiment: fixed("1"),
        affected: ids(&[BOB]),
    };
    world.happen(event(BOB, influence));
    world.happen(event(BOB, react));
    world.happen(event(ANA, CustomSet { namespace: "n".into(), key: "k".into(), value: vec![].into() }));
    let own: Vec<_> = world.state.iter().filter(|(key, _)| key.sub_tree() >= keys::AGENTS).collect();
    let mut tags: Vec<_> = own.iter().map(|(key, _)| (key.sub_tree(), key.as_bytes()[0])).collect();
    tags.dedup();
    let want = [
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (3, 1),
        (3, 2),
        (3, 3),
        (3, 4),
        (3, 5),
        (4, 1),
        (4, 2),
        (4, 3),
    ];
    assert_eq!(tags, want, "one of each");
    for (key, value) in own {
        assert!(Society.record_to_json(key, value).is_some(), "{key}");
        assert_eq!(Society.record_to_json(&key.then(&[0]), value), None);
    }
}
