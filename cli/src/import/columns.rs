//! Which column of a file is which.

use std::str::FromStr;

/// The four columns, by their place from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) rating: usize,
    pub(crate) time: usize,
}

/// What each column is called, in the order of their usual places.
const NAMES: [(&str, &[&str]); 4] = [
    (
        "from",
        &["from", "fromnode", "fromid", "source", "src", "author", "rater", "truster", "user", "sender", "i"],
    ),
    (
        "to",
        &["to", "tonode", "toid", "target", "dst", "subject", "ratee", "rated", "trustee", "recipient", "j"],
    ),
    ("rating", &["rating", "weight", "trust", "trustindex", "trustscore", "score", "value", "sign"]),
    ("time", &["time", "timestamp", "timesinceepoch", "date", "epoch", "ts", "createdat", "datetime"]),
];

impl Columns {
    /// The columns of a file that does not say: from, to, rating, time.
    pub(crate) const USUAL: Self = Self { from: 0, to: 1, rating: 2, time: 3 };

    /// Finds the columns by the names in a header.
    ///
    /// # Errors
    /// Which column is missing, or there twice.
    pub(crate) fn of_header<'a>(header: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let header: Vec<String> = header.map(plain).collect();
        let mut found = [0; 4];
        for (place, (name, synonyms)) in found.iter_mut().zip(NAMES) {
            let mut places =
                header.iter().enumerate().filter(|(_, header)| synonyms.contains(&header.as_str()));
            let (first, _) = places.next().ok_or_else(|| {
                format!(
                    "the header has no column for {name} (such as {}); say which is which with --columns",
                    synonyms.join(", ")
                )
            })?;
            if let Some((second, _)) = places.next() {
                return Err(format!(
                    "columns {} and {} could both be {name}; say which is which with --columns",
                    first + 1,
                    second + 1
                ));
            }
            *place = first;
        }
        let [from, to, rating, time] = found;
        Ok(Self { from, to, rating, time })
    }

    /// How many columns a row must have.
    pub(crate) fn width(&self) -> usize {
        1 + self.from.max(self.to).max(self.rating).max(self.time)
    }
}

/// A column's name without case, spaces, dashes and underscores.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let listed: Vec<&str> = list.split(',').map(str::trim).collect();
        if let Some(strange) =
            listed.iter().find(|name| **name != "_" && !NAMES.iter().any(|(known, _)| known == *name))
        {
            return Err(format!("{strange:?} is none of from, to, rating, time, _"));
        }
        let place = |wanted: &str| {
            let mut places = listed.iter().enumerate().filter(|(_, name)| **name == wanted);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                (None, _) => Err(format!("{wanted} is missing")),
                _ => Err(format!("{wanted} is there twice")),
            }
        };
        Ok(Self { from: place("from")?, to: place("to")?, rating: place("rating")?, time: place("time")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(line: &str) -> Result<Columns, String> {
        Columns::of_header(line.split(','))
    }

    #[test]
    fn headers_are_found_by_their_usual_names() {
        for line in [
            "FROM_NODE,TO_NODE,TRUST_INDEX,TIME_SINCE_EPOCH",
            "source,target,weight,timestamp",
            "Author, Subject ,Rating,Date",
            "rater,ratee,trust,time-since-epoch",
        ] {
            assert_eq!(header(line), Ok(Columns::USUAL), "{line}");
        }
        assert_eq!(header("time,x,rating,to,from"), Ok(Columns { from: 4, to: 3, rating: 2, time: 0 }));
        assert!(header("from,to,time").unwrap_err().contains("no column for rating"));
        assert!(header("from,to,rating,weight,time").unwrap_err().contains("columns 3 and 4"));
    }

    #[test]
    fn lists_say_each_column_once() {
        assert_eq!("time,_,from,to,rating".parse(), Ok(Columns { from: 2, to: 3, rating: 4, time: 0 }));
        for (bad, why) in [
            ("from,to,rating", "time is missing"),
            ("from,to,to,rating,time", "to is there twice"),
            ("a", "none of"),
        ] {
            assert!(bad.parse::<Columns>().unwrap_err().contains(why), "{bad}");
        }
    }
}
