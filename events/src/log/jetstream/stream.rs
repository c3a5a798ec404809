//! The stream: how it has to be, how it is made, and what is said of one that is otherwise.

use std::collections::HashMap;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};
use chaoschain_schemas::limits::BLOCK_BYTES_MAX;

use super::append::HEADERS_BYTES_MAX;
use super::{JetStreamOptions, Names};
use crate::nats::{ApiError, Difference, Nats, NatsError, Refusal};

/// JetStream is not enabled: at the server, for the account.
const NOT_ENABLED: [u32; 3] = [10035, 10039, 10076];

/// Finds the stream, or makes it if that is wanted.
pub(super) async fn open(nats: &Nats, names: &Names, options: &JetStreamOptions) -> Result<Info, NatsError> {
    let info = nats
        .open_stream(&config(names, options), options.create)
        .await
        .map_err(|error| explain(nats, names, error))?;
    let differences = differences(&info.config, names);
    if differences.is_empty() {
        Ok(info)
    } else {
        Err(NatsError::StreamForeignConfig { stream: names.stream.clone(), differences })
    }
}

fn explain(nats: &Nats, names: &Names, error: ApiError) -> NatsError {
    let (server, stream) = (nats.server(), names.stream.clone());
    match error {
        ApiError::Refused(refusal) if refusal.is_stream_not_found() => {
            NatsError::StreamMissing { server, stream }
        }
        ApiError::Refused(refusal) if NOT_ENABLED.contains(&refusal.err_code) => {
            nats.jetstream_off(refusal.to_string())
        }
        ApiError::Refused(refusal) if refusal.is_not_ready() => {
            NatsError::NoLeader { subject: format!("the stream {stream}"), reason: refusal.to_string() }
        }
        ApiError::Refused(Refusal { err_code, description, .. }) => {
            NatsError::StreamRefused { stream, reason: description, error_code: err_code }
        }
        ApiError::NoResponders { .. } => nats.jetstream_off("nobody answers for it".into()),
        // A server that runs JetStream and is connected stays silent only without a leader.
        ApiError::TimedOut { .. } if nats.client().server_info().cluster.is_some() => NatsError::NoLeader {
            subject: format!("the stream {stream}"),
            reason: "requests stay without an answer".into(),
        },
        ApiError::TimedOut { subject, server } => NatsError::TimedOut { server, subject },
        ApiError::Disconnected => NatsError::Unreachable {
            url: nats.url().to_owned(),
            reason: nats.state().last_error.unwrap_or_else(|| "the connection was lost".into()),
        },
        ApiError::Denied(denial) => denial.into(),
        ApiError::Malformed { subject, reason } => NatsError::Malformed { subject, reason },
    }
}

/// How a stream is made.
fn config(names: &Names, options: &JetStreamOptions) -> Config {
    let metadata = [("chaoschain-chain".to_owned(), options.chain.to_string())];
    Config {
        name: names.stream.clone(),
        description: Some(format!("Blocks of the chain {}", options.name)),
        subjects: vec![names.subject.clone()],
        storage: StorageType::File,
        num_replicas: options.replicas.max(1),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        allow_direct: true,
        metadata: HashMap::from(metadata),
        ..Config::default()
    }
}

/// What would let the stream lose, reorder, change or refuse blocks. What only limits how much it takes is allowed:
/// with `discard new` that is a refusal, not a loss.
fn differences(has: &Config, names: &Names) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut check = |field, fits: bool, has: String, must_be: &str| {
        if !fits {
            differences.push(Difference { field, has, must_be: must_be.to_owned() });
        }
    };
    let yes_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let none = |absent: bool| if absent { "none" } else { "some" }.to_owned();
    let no = |value: bool| (!value, yes_no(value));
    check("subjects", has.subjects == [names.subject.clone()], has.subjects.join(", "), &names.subject);
    check("storage", has.storage == StorageType::File, format!("{:?}", has.storage).to_lowercase(), "file");
    let retention = format!("{:?}", has.retention).to_lowercase();
    check("retention", has.retention == RetentionPolicy::Limits, retention, "limits");
    check("discard", has.discard == DiscardPolicy::New, format!("{:?}", has.discard).to_lowercase(), "new");
    check("max_age", has.max_age.is_zero(), format!("{} s", has.max_age.as_secs()), "unlimited");
    let per_subject = has.max_messages_per_subject;
    check("max_msgs_per_subject", per_subject <= 0, per_subject.to_string(), "unlimited");
    let message_bytes = BLOCK_BYTES_MAX + HEADERS_BYTES_MAX;
    check(
        "max_msg_size",
        usize::try_from(has.max_message_size).is_ok_and(|max| max == 0 || max >= message_bytes)
            || has.max_message_size < 0,
        has.max_message_size.to_string(),
        &format!("unlimited, or at least {message_bytes}"),
    );
    let (fits, shown) = no(has.no_ack);
    check("no_ack", fits, shown, "no");
    let (fits, shown) = no(has.sealed);
    check("sealed", fits, shown, "no");
    let (fits, shown) = no(has.allow_rollup);
    check("allow_rollup_hdrs", fits, shown, "no");
    let (fits, shown) = no(has.allow_message_ttl);
    check("allow_msg_ttl", fits, shown, "no");
    let (fits, shown) = no(has.allow_message_counter);
    check("allow_msg_counter", fits, shown, "no");
    let (fits, shown) = no(has.allow_message_schedules);
    check("allow_msg_schedules", fits, shown, "no");
    check("mirror", has.mirror.is_none(), none(has.mirror.is_none()), "none");
    let sources = has.sources.as_ref().is_none_or(Vec::is_empty);
    check("sources", sources, none(sources), "none");
    let transform = has.subject_transform.is_none();
    check("subject_transform", transform, none(transform), "none");
    let persist = !matches!(has.persist_mode, Some(PersistenceMode::Async));
    check("persist_mode", persist, "async".into(), "default");
    differences
}

/// What an operator should know though the stream is usable.
pub(super) fn warnings(nats: &Nats, info: &Info, options: &JetStreamOptions) -> Vec<String> {
    let config = &info.config;
    let mut warnings = Vec::new();
    if config.num_replicas < 2 {
        warnings.push(
            "it is on one server alone, with whose disk it is lost; for what matters use a cluster and 3 replicas"
                .to_owned(),
        );
    }
    if !options.fsync_always {
        warnings.push(
            "a power cut may lose acknowledged blocks, unless the jetstream block of every server says \
             `sync_interval: always`, which cannot be seen from here"
                .to_owned(),
        );
    }
    if config.deny_purge {
        warnings.push("it does not allow purging: it cannot be compacted".to_owned());
    }
    if config.max_bytes > 0 || config.max_messages > 0 {
        warnings.push(format!(
            "it takes at most {} and {}: when it is full the chain stands still until it is compacted",
            if config.max_bytes > 0 { format!("{} bytes", config.max_bytes) } else { "any bytes".into() },
            if config.max_messages > 0 {
                format!("{} messages", config.max_messages)
            } else {
                "any messages".into()
            },
        ));
    }
    let payload = nats.client().max_payload();
    if payload < BLOCK_BYTES_MAX + HEADERS_BYTES_MAX {
        warnings.push(format!(
            "its server takes messages of at most {payload} bytes, and a block may have {}: set the server's max_payload \
             to its default of 1 MB",
            BLOCK_BYTES_MAX + HEADERS_BYTES_MAX
        ));
    }
    warnings
}
