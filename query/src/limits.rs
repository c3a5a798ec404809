//! Every bound of a read, in one place.

use std::time::Duration;

/// The most keys that one read may look at, found or not, those in ranges included.
pub const KEYS_MAX: usize = 8192;
/// The most ranges that one read may walk.
pub const RANGES_MAX: usize = 256;
/// The most arguments of a read.
pub const ARGUMENTS_MAX: usize = 4;
/// The longest argument, bytes.
pub const ARGUMENT_BYTES_MAX: usize = 1024;
/// The longest that a request may wait for a height.
pub const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// How long a request waits for a height when it does not say.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that a request may take in all.
pub const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);
/// The most requests that are worked on at once; more are told to come back.
pub const REQUESTS_MAX: usize = 1024;
/// The most questions that wait for a height; the next one is answered at once that it was not reached. So those that wait
/// leave places to those that need not.
pub const WAITING_MAX: usize = 256;
/// The most witnesses that are made at once; each runs a block again and may take [`WITNESS_BYTES_MAX`] several times over.
///
/// [`WITNESS_BYTES_MAX`]: chaoschain_schemas::limits::WITNESS_BYTES_MAX
pub const WITNESSES_MAX: usize = 2;
/// The largest body that a request may carry, bytes; reads carry none.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// The largest request over NATS, bytes: all arguments, each letter escaped in JSON, and their names.
pub const NATS_REQUEST_BYTES_MAX: usize = 6 * ARGUMENTS_MAX * ARGUMENT_BYTES_MAX + 2048;
