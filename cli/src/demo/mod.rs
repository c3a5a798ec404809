//! `demo`: a small society plays its part on an embedded log, proves what it says, and is then attacked.

mod attack;
mod cast;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaoschain_projector::{Head, Projection, Verdict};
use chaoschain_query::prove::read_with_proof;
use chaoschain_query::verify::{Trust, verify_file};
use chaoschain_schemas::society::{
    AllianceFormation, AlliancePurpose, AllianceTerms, CustomSet, InteractionKind, MemeContent,
    MemeInfluence, MemePublication, MemeType, PurposeKind, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{Blob, Fixed, Hash, MemeId, Micros, ProofFile, codec};
use clap::Args;
use serde_json::{Value as Json, json};

use self::attack::Thief;
use self::cast::Stage;
use crate::args::Run;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::output::Output;

/// Play a small society that proves what it says and then attacks itself
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  chaoschain demo
  chaoschain demo --keep demo-chain     keeps the log and the state for a look")]
pub(crate) struct DemoArgs {
    /// Keep the demo's log and state in this new directory instead of a temporary one.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Prints as it goes, and remembers it for `--json`.
struct Script {
    output: Output,
    blocks: Vec<Json>,
}

impl Script {
    fn say(&self, text: &str) {
        if !self.output.json {
            println!("{text}");
        }
    }

    fn block(&mut self, head: &Head, what: &str) {
        let (height, root) = (head.height(), head.header.state_root);
        self.say(&format!("  block {height}  root {}…  {what}", short(&root)));
        self.blocks.push(json!({
            "height": height, "events": head.header.event_count, "header_hash": head.hash, "state_root": root,
            "what": what,
        }));
    }
}

fn short(hash: &Hash) -> String {
    hash.to_string()[..16].to_owned()
}

/// Plays the demo.
pub(crate) fn run(run: &Run<'_>, args: &DemoArgs) -> Outcome {
    // The node's own warnings about the attack would only repeat what is told.
    run.configure(Flags::default(), "off")?;
    let temporary =
        tempfile::tempdir().map_err(|error| CliError::file("make", Path::new("a directory"), &error))?;
    let dir = match &args.keep {
        Some(dir) if dir.exists() => {
            return Err(CliError::usage("directory_exists", format!("{} is there already", dir.display()))
                .hint("name a new directory"));
        }
        Some(dir) => dir.clone(),
        None => temporary.path().to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| CliError::new(Exit::Unavailable, "thread_unavailable", error.to_string()))?;
    runtime.block_on(play(&dir, Script { output: run.output, blocks: Vec::new() }))
}

async fn play(dir: &Path, mut script: Script) -> Outcome {
    let mut stage = Stage::set(dir).await?;
    script.say("A society of seven on a new chain. Everything they do is signed by them, sealed in blocks, and folded.\n");
    script.block(&stage.projection.head(), "genesis: one producer, the society's rules");
    act_one(&mut stage, &mut script).await?;
    let meme = act_two(&mut stage, &mut script).await?;
    let refused = act_three(&mut stage, &mut script, meme).await?;
    let head = stage.projection.head();
    let leaderboard = show_leaderboard(&stage, &script).await?;
    let read = show_proof(&stage, &script, &head)?;
    let attacks = attack_itself(&stage, &script, dir, &head).await?;
    script.say(TRY_NEXT);
    let summary = json!({
        "chain": stage.chain, "blocks": script.blocks, "refused": refused, "leaderboard": leaderboard, "read": read,
        "attacks": attacks, "state_root": head.header.state_root,
    });
    script.output.print(&summary, String::new);
    Ok(())
}

const TRY_NEXT: &str = "
Try next:
  chaoschain init --dir my-chain && chaoschain up --dir my-chain     a chain of your own, served over HTTP
  chaoschain import ratings.csv --into trust --seed 1                a real trust network, the same root every time
  chaoschain simulate --dir society                                  a thousand agents that live by themselves
  chaoschain bench                                                   what this machine can do
  chaoschain --help                                                  everything else";

/// They register, and say what they think of each other.
async fn act_one(stage: &mut Stage, script: &mut Script) -> Outcome {
    let names: Vec<_> = stage.actors.iter().map(|actor| actor.name).collect();
    let mut events = Vec::new();
    for name in &names {
        events.push(stage.registration(name)?);
        stage.accepted(name);
    }
    let head = seal(stage, &events).await?;
    script.block(&head, "seven agents register, each with a key of its own");

    let ratings = [
        ("ana", "bo", 8),
        ("bo", "ana", 9),
        ("cleo", "dorian", -6),
        ("eris", "ana", -3),
        ("fay", "bo", 7),
        ("gus", "ana", 5),
    ];
    let mut events = Vec::new();
    for (from, to, tenths) in ratings {
        let rating = Fixed::from_millionths(tenths * 100_000);
        events.push(stage.act(from, &ReputationUpdate { subject: stage.id(to), rating }, &[])?);
        stage.accepted(from);
    }
    let head = seal(stage, &events).await?;
    script.block(&head, "they rate each other: trust moves, and reputation with it");
    Ok(())
}

/// An alliance, a meme, and a scene.
async fn act_two(stage: &mut Stage, script: &mut Script) -> Outcome<MemeId> {
    let formation = AllianceFormation {
        members: stage.ids(&["ana", "bo", "fay"]),
        purpose: AlliancePurpose::of(PurposeKind::MemePromotion),
        terms: AllianceTerms {
            duration: Micros::from_secs(7 * 24 * 3600),
            benefits: Vec::new(),
            conditions: Vec::new(),
        },
        exclusive: true,
    };
    let alliance = stage.act("ana", &formation, &["bo", "fay"])?;
    stage.accepted("ana");
    let joke = b"consensus is just peer pressure with receipts";
    let content = MemeContent { hash: Hash::from(blake3::hash(joke)), size: joke.len() as u64 };
    let publication = MemePublication {
        content_type: MemeType::Text,
        content,
        inline: Some(Blob(joke.to_vec())),
        metadata: String::new(),
        references: Vec::new(),
        tags: vec!["consensus".into()],
        targets: Vec::new(),
    };
    let meme = stage.act("fay", &publication, &[])?;
    stage.accepted("fay");
    let id = MemeId::from(meme.id());
    let head = seal(stage, &[alliance, meme]).await?;
    script.block(&head, "ana, bo and fay ally (all three sign); fay publishes a meme");

    let scene = SocialInteraction {
        kind: InteractionKind::DramaticNemesis,
        targets: stage.ids(&["dorian", "eris"]),
        content: None,
        sentiment: Fixed::from_millionths(-900_000),
        drama: 9,
    };
    let scene = stage.act("cleo", &scene, &[])?;
    stage.accepted("cleo");
    let influence = MemeInfluence {
        meme: id,
        impact: Fixed::from_millionths(300_000),
        sentiment: Fixed::from_millionths(800_000),
        affected: stage.ids(&["gus", "cleo"]),
    };
    let influence = stage.act("bo", &influence, &[])?;
    stage.accepted("bo");
    let entry = CustomSet {
        namespace: "profile".into(),
        key: "motto".into(),
        value: b"read the proof".to_vec().into(),
    };
    let entry = stage.act("gus", &entry, &[])?;
    stage.accepted("gus");
    let head = seal(stage, &[scene, influence, entry]).await?;
    script.block(&head, "cleo makes a scene, bo spreads the meme, gus writes down a motto");
    Ok(id)
}

/// What the rules refuse.
async fn act_three(stage: &mut Stage, script: &mut Script, meme: MemeId) -> Outcome<Vec<Json>> {
    let alone = AllianceFormation {
        members: stage.ids(&["dorian", "ana"]),
        purpose: AlliancePurpose::of(PurposeKind::Governance),
        terms: AllianceTerms {
            duration: Micros::from_secs(3600),
            benefits: Vec::new(),
            conditions: Vec::new(),
        },
        exclusive: false,
    };
    let own = ReputationUpdate { subject: stage.id("dorian"), rating: Fixed::ONE };
    let again =
        MemeInfluence { meme, impact: Fixed::HALF, sentiment: Fixed::ONE, affected: stage.ids(&["gus"]) };
    let attempts = [
        ("dorian declares an alliance with ana, unasked", stage.act("dorian", &alone, &[])?),
        ("dorian rates himself", stage.act("dorian", &own, &[])?),
        ("bo pushes the same meme again within the hour", stage.act("bo", &again, &[])?),
    ];
    script.say("\nThe rules refuse, and say why:");
    let mut refused = Vec::new();
    for (what, event) in attempts {
        let (_, verdicts) = stage.seal(std::slice::from_ref(&event)).await?;
        let [Verdict::Rejected(rejection)] = &verdicts[..] else {
            return Err(CliError::new(Exit::Corrupt, "demo_broken", format!("{what}: {verdicts:?}")));
        };
        script.say(&format!("  {what}: {} — {rejection}", rejection.code()));
        refused.push(json!({ "what": what, "code": rejection.code() }));
    }
    Ok(refused)
}

async fn seal(stage: &Stage, events: &[chaoschain_events::envelope::VerifiedEnvelope]) -> Outcome<Arc<Head>> {
    let (head, verdicts) = stage.seal(events).await?;
    match verdicts.iter().find(|verdict| !matches!(verdict, Verdict::Accepted(_))) {
        None => Ok(head),
        Some(other) => {
            Err(CliError::new(Exit::Corrupt, "demo_broken", format!("an event was not accepted: {other:?}")))
        }
    }
}

async fn show_leaderboard(stage: &Stage, script: &Script) -> Outcome<Json> {
    // Read models are told of blocks by the writer, so what is stored is told.
    flush(&stage.projection).await?;
    let rows = stage.projection.model("leaderboard", &["7".into()]).transpose();
    let rows = rows.map_err(|error| CliError::usage("leaderboard", error.to_string()))?.unwrap_or_default();
    script.say("\nLeaderboard (by reputation, ties to who registered first):");
    for row in rows.as_array().into_iter().flatten() {
        let id = row["id"].as_str().and_then(|id| id.parse().ok());
        let name = id.and_then(|id| stage.name(&id)).unwrap_or("?");
        script.say(&format!(
            "  {}. {name:8} {}",
            row["rank"],
            row["reputation"].as_str().unwrap_or_default()
        ));
    }
    Ok(rows)
}

fn show_proof(stage: &Stage, script: &Script, head: &Head) -> Outcome<Json> {
    let id = stage.id("ana").to_string();
    let machine = &**stage.projection.machine();
    let (_, proof) = read_with_proof(head, machine, "agent", &[id]).map_err(|error| broken(&error))?;
    let file = codec::encode(&ProofFile::of_read(proof));
    let trust = Trust::in_producers(stage.chain, vec![stage.producer.key.public()]);
    let verified = verify_file(&file, &trust, Some(machine))?;
    let chaoschain_query::verify::Verified::Read(read) = verified else {
        return Err(broken(&"the proof is of something else"));
    };
    let value = read.value.clone().unwrap_or_default();
    let tampered = (0..file.len()).filter(|at| {
        let mut bytes = file.clone();
        bytes[*at] ^= 1;
        // A flip in the question itself proves another question's answer; the same answer must never come out.
        verify_file(&bytes, &trust, Some(machine)).is_ok_and(|other| {
            matches!(other, chaoschain_query::verify::Verified::Read(other) if other.arguments == read.arguments && other.read == read.read)
        })
    });
    let undetected = tampered.count();
    script.say(&format!(
        "\nA read with its proof, verified offline with nothing but the chain id and the producer's key:\n  \
         agent ana: reputation {}, {} alliance(s); {} bytes of proof; level: {}\n  \
         one bit of each of its {} bytes flipped in turn: {undetected} went unnoticed",
        value["reputation"].as_str().unwrap_or_default(),
        value["alliances"].as_array().map_or(0, Vec::len),
        file.len(),
        read.level,
        file.len(),
    ));
    Ok(
        json!({ "value": value, "proof_bytes": file.len(), "level": read.level, "flips_unnoticed": undetected }),
    )
}

async fn attack_itself(stage: &Stage, script: &Script, dir: &Path, head: &Head) -> Outcome<Vec<Json>> {
    script.say("\nNow it attacks itself. The node is stopped, and dorian's reputation is set to 1 in the database file:");
    close(&stage.projection).await;
    let dorian = stage.id("dorian");
    let mut attacks = Vec::new();
    for (thief, what) in
        [(Thief::Plain, "the record alone"), (Thief::Careful, "the record and the hash stored beside it")]
    {
        attack::edit(dir, &dorian, thief)?;
        let caught = attack::start(dir, &stage.log).await?;
        let whose = caught.key.and_then(|key| key.as_bytes().get(1..33)?.try_into().ok());
        let whose = whose.and_then(|id| stage.name(&chaoschain_schemas::AccountId::new(id)));
        if whose != Some("dorian") {
            return Err(broken(&format!("the attack was seen ({}), the key was not named", caught.message)));
        }
        script.say(&format!(
            "  {what}: refused at start, {}\n    {}\n    that row is dorian's",
            caught.code, caught.message
        ));
        attacks
            .push(json!({ "what": what, "code": caught.code, "key": caught.key.map(|key| key.to_string()) }));
    }
    let stored = dir.join("state");
    std::fs::remove_dir_all(&stored).map_err(|error| CliError::file("remove", &stored, &error))?;
    let projection = cast::open(dir, &stage.log).await?;
    let caught_up = projection.wait_cursor(stage.log.tip().await?).await;
    let replayed = projection.head();
    close(&projection).await;
    if caught_up.is_err() || replayed.hash != head.hash {
        return Err(broken(&"the replay gave another root"));
    }
    script.say(&format!(
        "  The state is thrown away and replayed from the log: height {}, root {}…, as before.",
        replayed.height(),
        short(&replayed.header.state_root)
    ));
    Ok(attacks)
}

async fn flush(projection: &Projection) -> Outcome {
    let projection = projection.clone();
    let flushed = tokio::task::spawn_blocking(move || projection.flush()).await;
    flushed.map_err(|error| broken(&error))?.map_err(|(_, text)| broken(&text))
}

async fn close(projection: &Projection) {
    let projection = projection.clone();
    drop(tokio::task::spawn_blocking(move || projection.close()).await);
}

fn broken(what: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Corrupt, "demo_broken", format!("the demo did not go as written: {what}"))
}
