//! A report for people.

use comfy_table::{Table, presets};

use super::report::{DeedCount, PersonalityCount, Report};

impl Report {
    /// The report as text: kinds, shares beside those of the table, conflicts, refusals, and where it came to.
    pub fn tables(&self) -> String {
        let kinds = table(
            ["kind", "name", "events", "in scenes"],
            self.kinds.iter().map(|kind| {
                [kind.kind.to_string(), kind.name.into(), kind.count.to_string(), kind.staged.to_string()]
            }),
        );
        let conflicts = table(
            ["conflict", "strategy", "decided by", "option", "times"],
            self.conflicts.iter().map(|one| {
                let option = one.option.map_or_else(|| "-".into(), |option| option.to_string());
                [
                    one.kind.to_string(),
                    one.strategy.to_string(),
                    one.by.to_string(),
                    option,
                    one.count.to_string(),
                ]
            }),
        );
        let refused = table(
            ["refused with", "as meant", "besides"],
            self.refused.iter().map(|one| [one.code.clone(), one.meant.to_string(), one.unmeant.to_string()]),
        );
        let shares = shares(&self.personalities);
        let Self { agents, events, height, time, state_root, rules, .. } = self;
        let (opened, open, divergences) = (self.conflicts_opened, self.conflicts_open, self.divergences);
        let voided = self.opinions_voided;
        format!(
            "{kinds}\n\nof a thousand, observed / in the table\n{shares}\n\n{conflicts}\n{opened} opened, {open} open, \
             {divergences} of a divergence; {voided} electors with void opinions\n\n{refused}\n\n{agents} agents, {events} events, height {height}, \
             block time {time}, rules version {rules}\nstate root {state_root}"
        )
    }
}

/// What each personality did of its own accord, a line a deed.
fn shares(personalities: &[PersonalityCount]) -> String {
    let header =
        std::iter::once("deed".into()).chain(personalities.iter().map(|one| one.personality.to_string()));
    let deeds = personalities.first().map_or(0, |one| one.deeds.len());
    let rows = (0..deeds).map(|place| {
        let cells = personalities.iter().map(|one| share(&one.deeds[place], one.events));
        std::iter::once(personalities[0].deeds[place].name.to_owned()).chain(cells).collect::<Vec<_>>()
    });
    table(header, rows)
}

fn share(deed: &DeedCount, events: u64) -> String {
    let observed = (deed.count * 1000 + events / 2).checked_div(events).unwrap_or(0);
    format!("{observed} / {}", deed.per_mille)
}

fn table<C, R>(header: impl IntoIterator<Item = C>, rows: impl Iterator<Item = R>) -> String
where
    C: Into<comfy_table::Cell>,
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.into_iter().map(Into::into));
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
