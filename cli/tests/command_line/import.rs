//! Ratings files become chains, the same ones every time.

use serde_json::Value as Json;

use crate::support::Bench;

const QUIRKS: &str = "\u{feff}# a comment\r\n\
    Time_Since_Epoch,Subject,rater,note,Weight\r\n\
    1289241942,bob,ana,\"said, so\",10\r\n\
    1289241911.72836,cara,bob,,-5\r\n\
    \r\n\
    1289241911.72836,ana,bob,,2.5\r\n\
    1289241950,ana,ana,,3\r\n\
    1299241950.5,bob,cara,,0\r\n";

fn replayed_root(bench: &Bench, from: &str, into: &str, batch: &str, threads: &str) -> Json {
    bench.json(&["replay", "--from", from, "--into", into, "--batch", batch, "--threads", threads])["state_root"].clone()
}

fn imports_are_reproducible(bench: &Bench, file: &str, more: &[&str]) -> Json {
    let import = |into: &str| {
        let mut done = bench.json(&[&["import", file, "--into", into, "--seed", "s"], more].concat());
        let fields = done.as_object_mut().unwrap();
        for varying in ["dir", "millis", "events_per_second"] {
            fields.remove(varying);
        }
        done
    };
    let one = import("one");
    assert_eq!(one, import("two"));
    for (nth, (batch, threads)) in
        [("1", "1"), ("1", "2"), ("1000", "1"), ("1000", "2")].into_iter().enumerate()
    {
        let root = replayed_root(bench, "one", &format!("replay-{nth}"), batch, threads);
        assert_eq!(root, one["state_root"], "batch {batch}, threads {threads}");
    }
    one
}

#[test]
fn quirks_are_taken_and_nothing_is_lost() {
    let bench = Bench::new();
    bench.write("quirks.csv", QUIRKS);
    let done = imports_are_reproducible(&bench, "quirks.csv", &["--events-per-block", "2"]);
    assert_eq!(done["agents"], 3);
    assert_eq!(done["ratings"], 4);
    assert_eq!(done["skipped_self_ratings"], 1);
    assert_eq!(done["first_skipped_lines"], serde_json::json!([7]));
    assert_eq!(done["reordered"], true);
    // Seven events by twos.
    assert_eq!(done["height"], 4);
    let agents = std::fs::read_to_string(bench.path("one/agents.csv")).unwrap();
    let nodes: Vec<_> = agents.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(nodes, ["node", "bob", "cara", "ana"], "in order of first appearance");
    let of = |node: &str| {
        let line = agents.lines().find(|line| line.starts_with(node)).unwrap();
        line.split(',').nth(1).unwrap().to_owned()
    };
    let view = bench.json(&["get", "relationship", &of("bob"), &of("cara"), "--dir", "one"]);
    // 0.5 − 0.5 × 0.1
    assert_eq!(view["value"]["trust"], "0.45");
    let block = bench.json(&["get", "block", "2", "--dir", "one"]);
    // Cara's registration is followed by the two ratings of one moment; the fourth event is the first of them.
    assert_eq!(block["value"]["timestamp"], 1_289_241_911_728_360_u64);
    assert_eq!(block["value"]["transactions"][1]["occurred_at"], 1_289_241_911_728_360_u64);
    assert_eq!(block["value"]["transactions"][1]["payload"]["rating"], "-0.5");
}

#[test]
fn an_imported_chain_goes_on() {
    let bench = Bench::new();
    bench.write("quirks.csv", QUIRKS);
    bench.json(&["import", "quirks.csv", "--into", "d", "--seed", "s"]);
    let ana = bench.json(&["key", "new", "ana.key", "--seed", "s", "--label", "agent ana"]);
    let node = bench.up("d");
    let status = ["submit", "StatusUpdate", "--field", "status=Inactive", "--field", "reason=done"];
    bench.json(&[&status[..], &["--key", "ana.key", "--node", &node.url]].concat());
    let agent = bench.json(&["get", "agent", ana["account"].as_str().unwrap(), "--node", &node.url]);
    assert_eq!(agent["value"]["status"], "Inactive");
    node.stop();
}

#[test]
fn bad_files_leave_nothing_behind() {
    let bench = Bench::new();
    bench.write("bad.csv", "1,2,3,4\n1,2,x,4\n1,2,30,4\n");
    insta::assert_snapshot!(bench.fails(&["import", "bad.csv", "--into", "d"]), @r#"
    exit 2
    error[csv_bad_line]: bad.csv: line 2: rating "x" is not a decimal with at most six places; line 3: rating 30 is not within -10 and 10; is --scale right?
      hint: nothing was imported: mend or remove these lines
    "#);
    assert!(!bench.path("d").exists());
    bench.write("good.csv", "1,2,3,4\n");
    bench.json(&["import", "good.csv", "--into", "d"]);
    let failed = bench.fails(&["import", "good.csv", "--into", "d"]);
    assert!(failed.starts_with("exit 1\nerror[chain_exists]"), "{failed}");
    let failed = bench.fails(&["import", "good.csv", "--into", "e", "--events-per-block", "0"]);
    assert!(failed.starts_with("exit 2\nerror[events_per_block_wrong]"), "{failed}");
}

/// The ratings of a real network: 5,881 people, 35,592 ratings.
#[test]
fn a_real_network() {
    let Ok(file) = std::env::var("CHAOSCHAIN_RATINGS") else {
        eprintln!("SKIPPED: set CHAOSCHAIN_RATINGS to a ratings file (SNAP's soc-sign-bitcoin-otc as CSV)");
        return;
    };
    let bench = Bench::new();
    let done = imports_are_reproducible(&bench, &file, &[]);
    assert_eq!((&done["agents"], &done["ratings"]), (&5881.into(), &35592.into()));
    assert_eq!(done["skipped_self_ratings"], 0);
    insta::assert_snapshot!(done["state_root"].as_str().unwrap());
}
