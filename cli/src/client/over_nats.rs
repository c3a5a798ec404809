//! The services of a chain on NATS, asked by the paths of the HTTP interface.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_command::nats::Client as CommandClient;
use chaoschain_events::micro::AskError;
use chaoschain_events::nats::{self, Nats};
use chaoschain_query::Finality;
use chaoschain_query::nats::{Asking, Client as QueryClient};
use chaoschain_schemas::{ChainId, Height};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::LogChoice;
use crate::node::runtime;

/// Where an address names the chain.
const CHAIN: &str = "?chain=";

/// Whoever answers for a chain.
pub(crate) struct Services {
    runtime: Runtime,
    nats: Nats,
    command: CommandClient,
    query: QueryClient,
    patience: Duration,
}

impl Services {
    /// The services that `nats://HOST:PORT,…?chain=ID` names, or `nats?chain=ID` for the servers of `NATS_URL`; `None` when
    /// the address is of another kind.
    pub(super) fn at(address: &str, config: &Config) -> Outcome<Option<Self>> {
        let Some((servers, chain)) = parted(address)? else { return Ok(None) };
        let runtime = runtime()?;
        let options = config.nats_options(&servers);
        let nats = runtime.block_on(nats::connect(&options))?;
        let (command, query) = (CommandClient::new(&nats, chain), QueryClient::new(&nats, chain));
        Ok(Some(Self { runtime, nats, command, query, patience: config.patience() }))
    }

    /// Waits for an answer, but not where the server says that there will be none.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, AskError>>) -> Outcome<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                denied = self.nats.denied() => Err(denied.into()),
                answer = answer => Ok(answer?),
            }
        })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let (endpoint, asking) = asked(path).ok_or_else(|| not_here(path))?;
        self.wait(self.query.ask(endpoint, &asking, self.patience))
    }

    pub(super) fn get_bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        let height = path.strip_prefix("/v1/blocks/").and_then(|rest| rest.strip_suffix("/raw"));
        let height = height.and_then(|height| height.parse().ok()).ok_or_else(|| not_here(path))?;
        Ok(self.wait(self.query.block_raw(Height(height), self.patience))?.to_vec())
    }

    pub(super) fn submit<T: DeserializeOwned>(&self, envelope: &[u8], dry_run: bool) -> Outcome<T> {
        let envelope = Bytes::copy_from_slice(envelope);
        let answer = self.wait(async {
            if dry_run {
                return self.command.dry_run(envelope, self.patience).await;
            }
            let receipt = self.command.submit(envelope, self.patience).await?;
            Ok(serde_json::to_value(receipt).unwrap_or_default())
        })?;
        serde_json::from_value(answer).map_err(|error| {
            let message = format!("the service gave an answer that cannot be read: {error}");
            CliError::new(Exit::Unavailable, "answer_malformed", message)
        })
    }
}

fn not_here(path: &str) -> CliError {
    CliError::usage("nats_not_served", format!("{path} is answered over HTTP alone"))
        .hint("name the node itself: --node http://HOST:PORT")
}

/// Servers and chain of an address, if it is one of NATS.
fn parted(address: &str) -> Outcome<Option<(String, ChainId)>> {
    let (servers, chain) =
        address.split_once(CHAIN).map_or((address, None), |(servers, chain)| (servers, Some(chain)));
    let Ok(Some(servers)) = servers.parse::<LogChoice>().map(|choice| choice.servers()) else {
        return Ok(None);
    };
    let chain = chain.and_then(|chain| chain.parse().ok()).ok_or_else(|| {
        CliError::usage("node_address_wrong", "an address on NATS has to name the chain by its id")
            .hint("say nats://HOST:PORT?chain=ID, with the id's 64 hex digits")
    })?;
    Ok(Some((servers, chain)))
}

/// The endpoint and the request that a path of the HTTP interface stands for.
fn asked(path: &str) -> Option<(&'static str, Asking)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<String> =
        path.strip_prefix("/v1/")?.split('/').map(decoded).collect::<Option<Vec<String>>>()?;
    let mut asking = Asking::default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=')? {
            ("proof", value) => asking.proof = value.parse().ok()?,
            ("min_height", value) => asking.min_height = Some(value.parse().ok()?),
            ("at_height", value) => asking.at_height = Some(value.parse().ok()?),
            ("patience_ms", value) => asking.patience_ms = Some(value.parse().ok()?),
            ("finality", "finalized") => asking.finality = Finality::Finalized,
            ("finality", "latest") => asking.finality = Finality::Latest,
            _ => return None,
        }
    }
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (endpoint, arguments) = match words.as_slice() {
        ["status"] => ("status", &parts[1..]),
        ["kinds"] => ("kinds", &parts[1..]),
        ["reads"] => ("reads", &parts[1..]),
        ["finality"] => ("finality", &parts[1..]),
        ["blocks", _] => ("block", &parts[1..]),
        ["events", "by-id", _] => ("event_by_id", &parts[2..]),
        ["events", _, _] => ("event", &parts[1..]),
        ["records", _, _] => ("record", &parts[1..]),
        ["models", name, ..] => {
            asking.model = Some((*name).to_owned());
            ("model", &parts[2..])
        }
        ["read", name, ..] => {
            asking.read = Some((*name).to_owned());
            ("read", &parts[2..])
        }
        ["node" | "transitions" | "tree", ..] | [] => return None,
        [name, ..] => {
            asking.read = Some((*name).to_owned());
            ("read", &parts[1..])
        }
    };
    asking.arguments = arguments.to_vec();
    Some((endpoint, asking))
}

/// A part of a path without its percent-encoding.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::path_part;

    fn arguments(asking: &Asking) -> Vec<&str> {
        asking.arguments.iter().map(String::as_str).collect()
    }

    #[test]
    fn paths_become_questions() {
        let (endpoint, asking) = asked("/v1/account/ab?min_height=7&proof=true&finality=finalized").unwrap();
        assert_eq!(
            (endpoint, asking.read.as_deref(), arguments(&asking)),
            ("read", Some("account"), vec!["ab"])
        );
        assert_eq!((asking.min_height, asking.proof, asking.finality), (Some(7), true, Finality::Finalized));
        for (path, endpoint, expected) in [
            ("/v1/status", "status", vec![]),
            ("/v1/blocks/7", "block", vec!["7"]),
            ("/v1/events/7/0", "event", vec!["7", "0"]),
            ("/v1/events/by-id/ab", "event_by_id", vec!["ab"]),
            ("/v1/models/leaderboard/20", "model", vec!["20"]),
            ("/v1/read/status/x", "read", vec!["x"]),
        ] {
            let (found, asking) = asked(path).unwrap();
            assert_eq!((found, arguments(&asking)), (endpoint, expected), "{path}");
        }
        let encoded = format!("/v1/custom/{}", path_part("a/b ü?%"));
        assert_eq!(arguments(&asked(&encoded).unwrap().1), ["a/b ü?%"]);
    }

    #[test]
    fn what_only_a_node_knows_is_not_asked() {
        for path in ["/v1/node", "/v1/node/command", "/readyz", "/v1/status?x=1", "/v1/a%zz"] {
            assert!(asked(path).is_none(), "{path}");
        }
    }

    #[test]
    fn addresses_name_their_chain() {
        let id = "ab".repeat(32);
        let (servers, chain) = parted(&format!("nats://a:1,tls://b:2?chain={id}")).unwrap().unwrap();
        assert_eq!((servers.as_str(), chain.to_string()), ("nats://a:1,tls://b:2", id));
        assert!(parted("http://a").unwrap().is_none() && parted("embedded").unwrap().is_none());
        for bad in ["nats://a:1", "nats://a:1?chain=", "nats://a:1?chain=zz"] {
            assert_eq!(parted(bad).unwrap_err().code, "node_address_wrong", "{bad}");
        }
    }
}
