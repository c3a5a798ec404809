//! Reading ratings: every row checked, in order of time.

use std::path::Path;

use chaoschain_schemas::{Fixed, Timestamp};
use csv::{ReaderBuilder, StringRecord, Trim};

use super::columns::Columns;
use crate::error::{CliError, Outcome};

/// The longest name of a person, bytes.
const PERSON_BYTES_MAX: usize = 256;
/// How many bad lines are named.
const BAD_LINES_SHOWN: usize = 10;
/// The latest time there can be: the end of the year 9999.
const TIME_MAX: Timestamp = Timestamp(253_402_300_799_999_999);

/// One rating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) from: String,
    pub(super) to: String,
    /// Within \[−1, 1\].
    pub(super) rating: Fixed,
    pub(super) time: Timestamp,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ratings {
    /// In order of time; at least one.
    pub(super) rows: Vec<Row>,
    /// The lines of people who rate themselves; they are not among the rows.
    pub(super) skipped_lines: Vec<u64>,
    /// Whether the file was not in order of time.
    pub(super) reordered: bool,
}

/// Reads a file whole.
///
/// # Errors
/// The lines that cannot be used, by their numbers.
pub(super) fn read(path: &Path, columns: Option<&Columns>, scale: Fixed) -> Outcome<Ratings> {
    let text = std::fs::read(path).map_err(|error| CliError::file("read", path, &error))?;
    parse(&text, columns, scale)
        .map_err(|error| CliError { message: format!("{}: {}", path.display(), error.message), ..error })
}

fn parse(text: &[u8], columns: Option<&Columns>, scale: Fixed) -> Outcome<Ratings> {
    if scale <= Fixed::ZERO {
        return Err(CliError::usage("scale_wrong", format!("the scale {scale} is not more than 0")));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(text);
    let mut places = columns.cloned();
    let mut reading =
        Reading { scale, rows: Vec::new(), skipped_lines: Vec::new(), bad: Vec::new(), bad_count: 0 };
    let mut is_first = true;
    let mut lines = Lines { text, at: 0, line: 1 };
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = lines.of(error.position());
            CliError::usage("csv_bad_line", format!("line {line}: {error}"))
        })?;
        let line = lines.of(record.position());
        if std::mem::replace(&mut is_first, false) && is_header(&record) {
            if places.is_none() {
                let named = Columns::of_header(record.iter());
                places = Some(named.map_err(|reason| CliError::usage("csv_columns_unknown", reason))?);
            }
            continue;
        }
        reading.take(line, &record, places.as_ref().unwrap_or(&Columns::USUAL));
    }
    reading.finish()
}

/// Numbers the lines that records start in. The reader tells where it began to look for one, before comments and empty
/// lines.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record at or after `position`, which ascends from call to call.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let start = position.map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
        let mut in_comment = false;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => (self.line, in_comment) = (self.line + 1, false),
                b'#' if self.at >= start => in_comment = true,
                b'\r' => {}
                _ if self.at >= start && !in_comment => break,
                _ => {}
            }
            self.at += 1;
        }
        self.line
    }
}

/// A row of data has numbers in it; a header has none.
fn is_header(record: &StringRecord) -> bool {
    !record.iter().any(|field| field.parse::<Fixed>().is_ok() || micros(field).is_ok())
}

/// A file while it is read.
struct Reading {
    scale: Fixed,
    rows: Vec<Row>,
    skipped_lines: Vec<u64>,
    bad: Vec<String>,
    bad_count: usize,
}

impl Reading {
    fn take(&mut self, line: u64, record: &StringRecord, columns: &Columns) {
        match row(record, columns, self.scale) {
            Ok(row) if row.from == row.to => self.skipped_lines.push(line),
            Ok(row) => self.rows.push(row),
            Err(reason) => {
                self.bad_count += 1;
                if self.bad.len() < BAD_LINES_SHOWN {
                    self.bad.push(format!("line {line}: {reason}"));
                }
            }
        }
    }

    fn finish(self) -> Outcome<Ratings> {
        let Self { mut rows, skipped_lines, bad, bad_count, .. } = self;
        if bad_count > 0 {
            let more = bad_count - bad.len();
            let more = if more > 0 { format!("; and {more} lines more") } else { String::new() };
            return Err(CliError::usage("csv_bad_line", format!("{}{more}", bad.join("; ")))
                .hint("nothing was imported: mend or remove these lines"));
        }
        if rows.is_empty() {
            return Err(CliError::usage("csv_empty", "there is no rating in the file"));
        }
        let reordered = !rows.is_sorted_by_key(|row| row.time);
        rows.sort_by_key(|row| row.time);
        Ok(Ratings { rows, skipped_lines, reordered })
    }
}

fn row(record: &StringRecord, columns: &Columns, scale: Fixed) -> Result<Row, String> {
    if record.len() < columns.width() {
        return Err(format!(
            "{} fields are fewer than the {} there should be",
            record.len(),
            columns.width()
        ));
    }
    let person = |place: usize, what: &str| match &record[place] {
        "" => Err(format!("{what} is empty")),
        name if name.len() > PERSON_BYTES_MAX => {
            Err(format!("{what} has {} bytes, more than {PERSON_BYTES_MAX}", name.len()))
        }
        name => Ok(name.to_owned()),
    };
    let (from, to) = (person(columns.from, "from")?, person(columns.to, "to")?);
    let text = &record[columns.rating];
    let value: Fixed =
        text.parse().map_err(|_| format!("rating {text:?} is not a decimal with at most six places"))?;
    if value.abs() > scale {
        return Err(format!("rating {value} is not within -{scale} and {scale}; is --scale right?"));
    }
    let rating = Fixed::ONE.times_ratio(value.millionths(), scale.millionths());
    let time = micros(&record[columns.time])?;
    Ok(Row { from, to, rating, time })
}

/// Seconds since 1970, whole or with a fraction, as microseconds; finer parts are cut off.
fn micros(text: &str) -> Result<Timestamp, String> {
    let parse = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction = format!("{fraction:0<6}");
        let micros = fraction[..6].parse::<u64>().ok()?;
        let time = Timestamp(whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?);
        (time <= TIME_MAX).then_some(time)
    };
    parse().ok_or_else(|| format!("time {text:?} is not a number of seconds since 1970, up to the year 9999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Fixed {
        Fixed::from_millionths(10_000_000)
    }

    fn read(text: &str) -> Outcome<Ratings> {
        parse(text.as_bytes(), None, scale())
    }

    fn refused(text: &str) -> String {
        let error = read(text).unwrap_err();
        format!("{}: {}", error.code, error.message)
    }

    fn rows(ratings: &Ratings) -> Vec<(&str, &str, String, u64)> {
        ratings.rows.iter().map(|row| (&*row.from, &*row.to, row.rating.to_string(), row.time.0)).collect()
    }

    #[test]
    fn quirks_of_files_are_taken() {
        let text = "\u{feff}# made by hand\r\nTO_NODE,from-node,Trust Index,time\r\n2,6,4,1289241911.72836\r\n\r\n\
                    5, 6 ,-10,1289241941\r\n\"a,b\",6,+2.5,1289241911.9999999\r\n";
        let ratings = read(text).unwrap();
        assert_eq!(
            rows(&ratings),
            [
                ("6", "2", "0.4".to_owned(), 1_289_241_911_728_360),
                ("6", "a,b", "0.25".to_owned(), 1_289_241_911_999_999),
                ("6", "5", "-1".to_owned(), 1_289_241_941_000_000),
            ]
        );
        assert!(ratings.reordered);
    }

    #[test]
    fn without_a_header_columns_are_taken_in_order() {
        let ratings = read("1,2,10,5\n3,4,-1,5\n5,6,3,4\n").unwrap();
        let expected =
            [("5", "6", "0.3", 4_000_000), ("1", "2", "1", 5_000_000), ("3", "4", "-0.1", 5_000_000)];
        assert_eq!(
            rows(&ratings),
            expected.map(|(from, to, rating, time)| (from, to, rating.to_owned(), time))
        );
        let columns: Columns = "time,rating,_,to,from".parse().unwrap();
        let ratings = parse(b"5,1,x,b,a\n", Some(&columns), scale()).unwrap();
        assert_eq!(rows(&ratings), [("a", "b", "0.1".to_owned(), 5_000_000)]);
    }

    #[test]
    fn skipped_lines_are_counted_by_line() {
        let ratings = read("1,2,1,5\n3,3,1,5\n# note\n4,4,1,5\n").unwrap();
        assert_eq!((ratings.rows.len(), ratings.skipped_lines), (1, vec![2, 4]));
    }

    #[test]
    fn bad_lines_are_named() {
        insta::assert_snapshot!(refused("1,2,1,5\n1,2,x,5\n1,2,11,5\n1,,1,5\n1,2,1,-5\n1,2,1\n"), @r#"csv_bad_line: line 2: rating "x" is not a decimal with at most six places; line 3: rating 11 is not within -10 and 10; is --scale right?; line 4: to is empty; line 5: time "-5" is not a number of seconds since 1970, up to the year 9999; line 6: 3 fields are fewer than the 4 there should be"#);
        insta::assert_snapshot!(refused("a,b,c\n1,2,3\n"), @"csv_columns_unknown: the header has no column for from (such as from, fromnode, fromid, source, src, author, rater, truster, user, sender, i); say which is which with --columns");
        insta::assert_snapshot!(refused("from,to,rating,time\n"), @"csv_empty: there is no rating in the file");
        assert!(refused("1,2,1e3,5\n").contains("line 1: rating"));
        assert!(refused("1,2,1,99999999999999999999\n").contains("line 1: time"));
        assert_eq!(parse(b"1,2,1,5\n", None, Fixed::ZERO).unwrap_err().code, "scale_wrong");
        assert!(parse(b"1,2,1,5\n\xff,2,1,5\n", None, scale()).unwrap_err().message.contains("line 2"));
    }
}
