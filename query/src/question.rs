//! What can be asked, whatever the transport: a word for what is asked, arguments as text, and how to answer.

use chaoschain_schemas::{EventAddress, Height};
use serde_json::Value as Json;

use crate::answer::Answer;
use crate::error::QueryError;
use crate::limits::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX};
use crate::named;
use crate::query::{Ask, Query};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Status,
    Kinds,
    Reads,
    Finality,
    /// `height`
    Block,
    /// `height`, `index`
    Event,
    /// `id`
    EventById,
    /// `sub_tree`, `key`
    Record,
    /// `name` and the read's own arguments
    Read,
    /// `name` and the model's own arguments
    Model,
    /// `height`, `sub_tree`, and `key` or `region` and `depth`; each may be left out with those after it
    Tree,
}

impl Question {
    /// Whether the head it was read at and its label settle the answer, so that it may be cached by those. Validators go on
    /// to vouch for older blocks.
    pub(crate) const fn is_settled(self) -> bool {
        matches!(self, Self::Kinds | Self::Reads | Self::Record | Self::Read)
    }

    /// The names of its arguments; a read and a model have further ones of their own.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Kinds | Self::Reads | Self::Finality | Self::Tree => &[],
            Self::Block => &["height"],
            Self::Event => &["height", "index"],
            Self::EventById => &["id"],
            Self::Record => &["sub_tree", "key"],
            Self::Read | Self::Model => &["name"],
        }
    }

    /// Answers it.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::Absent`] where there is nothing and no proof of that was asked for.
    pub(crate) async fn answer(
        self,
        query: &Query,
        arguments: &[String],
        ask: &Ask,
    ) -> Result<Answer<Json>, QueryError> {
        self.check(arguments)?;
        match self {
            Self::Status => query.status(ask).await,
            Self::Kinds => Ok(query.answer(&*query.head(ask).await?, query.kinds())),
            Self::Reads => Ok(query.answer(&*query.head(ask).await?, query.reads())),
            Self::Finality => query.finality(ask).await,
            Self::Block => query.block(height(&arguments[0])?, ask).await,
            Self::Event => {
                let (height, index) = (height(&arguments[0])?, &arguments[1]);
                let index =
                    index.parse().map_err(|_| QueryError::Argument(format!("{index:?} is no index")))?;
                query.event(EventAddress { height, index }, ask).await
            }
            Self::EventById => {
                let id = arguments[0].parse();
                let id = id.map_err(|error| QueryError::Argument(format!("the transition's id: {error}")))?;
                query.event_by_id(&id, ask).await
            }
            Self::Record => existing(query.read("record", arguments, ask).await?, "record", arguments),
            Self::Read => {
                let (name, arguments) = (&arguments[0], &arguments[1..]);
                let name = spelled(query, name, arguments.len());
                existing(query.read(&name, arguments, ask).await?, &name, arguments)
            }
            Self::Tree => query.tree(arguments, ask).await,
            Self::Model => query.model(&arguments[0], &arguments[1..], ask).await,
        }
    }

    /// Checks the number and the length of arguments.
    fn check(self, arguments: &[String]) -> Result<(), QueryError> {
        let names = self.arguments();
        let most = match self {
            Self::Read | Self::Model => 1 + ARGUMENTS_MAX,
            Self::Tree => ARGUMENTS_MAX,
            _ => names.len(),
        };
        if arguments.len() < names.len() || arguments.len() > most {
            let (got, wanted) = (arguments.len(), names.len());
            let text = match names {
                [] if most == 0 => format!("no arguments are taken here, got {got}"),
                names if most == wanted => {
                    format!("{wanted} arguments are wanted ({}), got {got}", names.join(", "))
                }
                _ => format!("a name is wanted and at most {ARGUMENTS_MAX} arguments, got {got} in all"),
            };
            return Err(QueryError::Argument(text));
        }
        match arguments.iter().find(|argument| argument.len() > ARGUMENT_BYTES_MAX) {
            Some(long) => {
                let text =
                    format!("an argument has {} bytes, at most {ARGUMENT_BYTES_MAX} are taken", long.len());
                Err(QueryError::Argument(text))
            }
            None => Ok(()),
        }
    }
}

/// A height as text.
pub(crate) fn height(text: &str) -> Result<Height, QueryError> {
    text.parse().map(Height).map_err(|_| QueryError::Argument(format!("{text:?} is no height")))
}

/// The read that is meant by a name in the singular or plural: the first with so many arguments, or else the first.
fn spelled(query: &Query, name: &str, arguments: usize) -> String {
    let singular = match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(name).to_owned(),
    };
    let machine = &**query.projection().machine();
    let specs = [name, &singular].map(|name| named::catalogue(machine).find(|spec| spec.name == name));
    let known = || specs.iter().flatten();
    let meant = known().find(|spec| spec.arguments.len() == arguments).or_else(|| known().next());
    meant.map_or_else(|| name.to_owned(), |spec| spec.name.to_owned())
}

fn existing(answer: Answer<Json>, name: &str, arguments: &[String]) -> Result<Answer<Json>, QueryError> {
    if !answer.value.is_null() || answer.proof.is_some() {
        return Ok(answer);
    }
    let read = [&[name.to_owned()], arguments].concat().join(" ");
    Err(QueryError::Absent { read, height: answer.at.height, root: answer.at.state_root })
}
