//! What is printed: text for people, JSON for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use comfy_table::{Table, presets};
use serde_json::Value as Json;

use crate::error::CliError;

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: `json` for programs, `text` for people.
    pub(crate) fn print(self, json: &Json, text: impl FnOnce() -> String) {
        let text = if self.json { json.to_string() } else { harmless(text()) };
        // A reader that has gone away is no failure of the command.
        let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    }

    /// Prints a result whose JSON form also makes its text.
    pub(crate) fn show(self, json: &Json) {
        self.print(json, || human(json));
    }

    /// Prints an error on standard error.
    pub(crate) fn error(self, error: &CliError) {
        let text = if self.json {
            serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
        } else {
            harmless(error.to_string())
        };
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Text with what a terminal would obey written out: it may hold what strangers have put on a chain, or what another node
/// answers.
fn harmless(text: String) -> String {
    let obeyed = |char: char| {
        (char.is_control() && char != '\n' && char != '\t')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if obeyed(char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// JSON as lines for people: one field a line, lists of like objects as tables, times with their date.
pub(crate) fn human(json: &Json) -> String {
    let mut text = String::new();
    write_value(&mut text, json, 0);
    text
}

fn write_value(text: &mut String, json: &Json, indent: usize) {
    match json {
        Json::Object(fields) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            for (name, value) in fields {
                let _ = write!(text, "{:indent$}{name:width$}", "");
                if is_flat(value) {
                    let _ = writeln!(text, "  {}", flat(name, value));
                } else {
                    text.push('\n');
                    write_value(text, value, indent + 2);
                }
            }
        }
        Json::Array(items) if is_table(items) => {
            for line in table(items).lines() {
                let _ = writeln!(text, "{:indent$}{}", "", line.trim_end());
            }
        }
        Json::Array(items) => {
            for item in items {
                if is_flat(item) {
                    let _ = writeln!(text, "{:indent$}{}", "", flat("", item));
                } else {
                    write_value(text, item, indent);
                    text.push('\n');
                }
            }
        }
        other => {
            let _ = writeln!(text, "{:indent$}{}", "", flat("", other));
        }
    }
}

fn is_flat(json: &Json) -> bool {
    match json {
        Json::Object(fields) => fields.is_empty(),
        Json::Array(items) => {
            items.len() <= 8 && items.iter().all(|item| item.is_number() || item.is_boolean())
        }
        _ => true,
    }
}

fn flat(name: &str, json: &Json) -> String {
    match json {
        Json::String(text) if text.is_empty() => "(empty)".into(),
        // What a stranger has written stays one line.
        Json::String(text) => text.replace('\n', "\\n"),
        Json::Number(number) if is_time(name) => number
            .as_u64()
            .filter(|micros| *micros > 0)
            .map_or_else(|| number.to_string(), |micros| format!("{micros} ({})", utc(micros))),
        Json::Null | Json::Object(_) => "-".into(),
        Json::Array(items) if items.is_empty() => "-".into(),
        other => other.to_string(),
    }
}

/// Fields that hold microseconds since the Unix epoch, by their names.
fn is_time(name: &str) -> bool {
    matches!(name, "timestamp" | "valid_until" | "last_activity" | "last_updated" | "status_since")
        || name.ends_with("_at")
}

fn is_table(items: &[Json]) -> bool {
    let Some(Json::Object(first)) = items.first() else { return false };
    let like = |item: &Json| {
        item.as_object().is_some_and(|item| item.keys().eq(first.keys()) && item.values().all(is_flat))
    };
    first.len() <= 6 && items.iter().all(like)
}

fn table(items: &[Json]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(Json::Object(first)) = items.first() {
        table.set_header(first.keys());
    }
    for item in items.iter().filter_map(Json::as_object) {
        table.add_row(item.iter().map(|(name, value)| flat(name, value)));
    }
    table.to_string()
}

/// Microseconds since the Unix epoch as a date and time in UTC.
pub(crate) fn utc(micros: u64) -> String {
    let secs = micros / 1_000_000;
    let (days, secs) = (secs / 86_400, secs % 86_400);
    // Days to a civil date, by eras of 400 years that start in March (Hinnant's algorithm).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_shown_as_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_000_000), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_868_800_000_000), "2000-03-01 00:00:00 UTC");
        assert_eq!(utc(1_289_241_911_728_360), "2010-11-08 18:45:11 UTC");
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(harmless("a\tb\nc é\n".into()), "a\tb\nc é\n");
        let shown = harmless("\u{1b}[2J\u{9b}1m\rok\u{202e}".into());
        assert_eq!(shown, r"\u{1b}[2J\u{9b}1m\u{d}ok\u{202e}");
    }

    #[test]
    fn fields_lists_and_tables() {
        let shown = human(&json!({
            "id": "ab", "reputation": "0.5", "registered_at": 951_868_800_000_000_u64, "alliances": [],
            "at": { "height": 3 }, "rows": [{ "rank": 1, "id": "x" }, { "rank": 2, "id": "y" }],
        }));
        insta::assert_snapshot!(shown, @r"
        id             ab
        reputation     0.5
        registered_at  951868800000000 (2000-03-01 00:00:00 UTC)
        alliances      -
        at           
          height  3
        rows         
           rank  id
           1     x
           2     y
        ");
    }
}
