//! W3C trace context: which request a log line belongs to, across services.
//!
//! A request may carry `traceparent`; what serves it works in a span of its own under that, logs in it, and answers with
//! its `traceparent`. A request without one starts a trace: that costs a few random bytes, and then every answer can be
//! found in the log. Nothing is sampled or exported here, and `tracestate`, which is other vendors' business, is neither
//! read nor passed on, since nothing further is called on a request's behalf.
//!
//! # Format
//! `00-<trace id, 32 hex digits>-<span id, 16>-<flags, 2>`, lower case, neither id all zeros; flag `01` says that the
//! caller records the trace. Of versions above `00` the first four fields are taken; `ff` is no version. Whatever is not of
//! that form is treated as not there. Source: <https://www.w3.org/TR/trace-context-1/>.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use tracing::Span;

/// The header's name. Over HTTP its case does not matter; over NATS it is exactly this.
pub const TRACEPARENT: &str = "traceparent";

/// The length of version `00`, bytes.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// One span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: NonZeroU128,
    span: NonZeroU64,
    parent: Option<NonZeroU64>,
    sampled: bool,
}

impl TraceContext {
    /// The first span of a new trace, not sampled.
    pub fn fresh() -> Self {
        let (high, low) = (random(), random());
        let trace = NonZeroU128::from(low) | u128::from(high.get()) << 64;
        Self { trace, span: random(), parent: None, sampled: false }
    }

    /// The caller's span, as `traceparent` names it; `None` where the specification has it ignored.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let (known, more) = traceparent.split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let mut field = |digits: usize| fields.next().filter(|field| field.len() == digits).and_then(number);
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let rest_fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let sampled = flags as u8 & SAMPLED != 0;
        let context = Self {
            trace: NonZeroU128::new(trace)?,
            span: NonZeroU64::new(span as u64)?,
            parent: None,
            sampled,
        };
        rest_fits.then_some(context)
    }

    /// The span in which a request is served that came with these `traceparent`s: under the caller's where there is exactly
    /// one and it is valid, else the first of a new trace.
    pub fn serving<'a>(traceparents: impl IntoIterator<Item = &'a str>) -> Self {
        let mut given = traceparents.into_iter();
        match (given.next(), given.next()) {
            (Some(one), None) => Self::parse(one).map_or_else(Self::fresh, Self::child),
            _ => Self::fresh(),
        }
    }

    /// A new span under this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: random(), parent: Some(self.span), ..self }
    }

    /// The span for log lines: `trace_id`, `span_id`, `parent_id` where there is a parent, and what is done in it as
    /// `otel.name`, where exporters look for a name that is not fixed.
    pub fn span(&self, name: &str) -> Span {
        let span = tracing::info_span!(
            "request",
            otel.name = name,
            trace_id = format_args!("{:032x}", self.trace),
            span_id = format_args!("{:016x}", self.span),
            parent_id = tracing::field::Empty,
        );
        if let Some(parent) = self.parent {
            span.record("parent_id", format_args!("{parent:016x}"));
        }
        span
    }
}

/// As `traceparent` says it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled) * SAMPLED)
    }
}

/// At most 32 digits; upper case is refused, as the specification has it.
fn number(digits: &str) -> Option<u128> {
    let valid = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(digits, 16).ok().filter(|_| valid)
}

fn random() -> NonZeroU64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes, as it had for the first keys");
    NonZeroU64::new(u64::from_ne_bytes(bytes)).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_said_is_read_again() {
        assert_eq!(TraceContext::parse(GOOD).unwrap().to_string(), GOOD);
        let fresh = TraceContext::fresh();
        assert_eq!(TraceContext::parse(&fresh.to_string()), Some(fresh));
        assert!(fresh.to_string().ends_with("-00"), "nobody asked for a record");
        assert_ne!(fresh.trace, TraceContext::fresh().trace);
    }

    #[test]
    fn invalid_ones_are_not_there() {
        let long = format!("{GOOD}-00");
        let bad = [
            "",
            "00",
            &GOOD[..54],
            &long,
            // Upper case, foreign digits, signs.
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
            // All zeros.
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            // Fields of other lengths.
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for traceparent in bad {
            assert_eq!(TraceContext::parse(traceparent), None, "{traceparent:?}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = |more: &str| TraceContext::parse(&format!("cc{}{more}", &GOOD[2..]));
        assert_eq!(later(""), TraceContext::parse(GOOD));
        assert_eq!(later("-what-the-future-holds"), TraceContext::parse(GOOD));
        assert_eq!(later(".what"), None);
    }

    #[test]
    fn flags_that_are_not_known_are_not_passed_on() {
        let flagged =
            |flags: &str| TraceContext::parse(&format!("{}{flags}", &GOOD[..53])).unwrap().to_string();
        assert!(flagged("ff").ends_with("-01"));
        assert!(flagged("fe").ends_with("-00"));
    }

    #[test]
    fn a_request_is_served_under_its_caller() {
        let caller = TraceContext::parse(GOOD).unwrap();
        let ours = TraceContext::serving([GOOD]);
        assert_eq!((ours.trace, ours.parent, ours.sampled), (caller.trace, Some(caller.span), true));
        assert_ne!(ours.span, caller.span);
        for none in [&[][..], &["rubbish"], &[GOOD, GOOD]] {
            let ours = TraceContext::serving(none.iter().copied());
            assert!(ours.trace != caller.trace && ours.parent.is_none(), "{none:?}");
        }
    }
}
